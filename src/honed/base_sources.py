"""Where the files of a base model may come from: the local hub cache, and the hub."""

from __future__ import annotations

import os
from pathlib import Path

# Only what transformers loads; never code, pickles, or the same weights in another framework's format.
_HUB_FILES = ("model*.safetensors", "*.json", "*.txt", "*.model")
_HUB_IGNORED = ("*/*",)


class NotHere(Exception):  # noqa: N818 - an outcome of one step of the search, never shown by itself
    """A base model is not at this place; the message says why."""


def from_hub_cache(hub_id: str, revision: str | None, *, any_revision: bool) -> Path:
    """The folder of a downloaded base model; with `any_revision`, also of the current `main`. No network call.

    Raises NotHere if it was not downloaded, or not wholly.
    """
    import huggingface_hub

    for wanted in (revision, None) if any_revision and revision else (revision,):
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    hub_id, revision=wanted, local_files_only=True, allow_patterns=list(_HUB_FILES)
                )
            )
        except (OSError, ValueError):
            continue
        if (folder / "config.json").is_file() and any(folder.glob("model*.safetensors")):
            return folder
    raise NotHere("not downloaded")


def from_hub(hub_id: str, revision: str | None) -> Path:
    """Download a base model from the hub.

    Raises NotHere, with the reason, if that is forbidden or fails.
    """
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        raise NotHere("not asked: HF_HUB_OFFLINE is set")
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                hub_id, revision=revision, allow_patterns=list(_HUB_FILES), ignore_patterns=list(_HUB_IGNORED)
            )
        )
    except Exception as error:  # whatever the network does, the next source is tried and this is told
        reason = str(error).strip().splitlines()
        raise NotHere(f"{type(error).__name__}: {reason[0] if reason else 'no reason given'}") from error
    if not any(folder.glob("model*.safetensors")):
        raise NotHere("the repository has no model*.safetensors; pickled weights are not loaded")
    return folder
