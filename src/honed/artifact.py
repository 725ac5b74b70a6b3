"""The artifact that ships: adapter + head + preprocessing + temperature, in PEFT's own format.

adapter/
  adapter_config.json, adapter_model.safetensors   as PEFT writes them (a native head is inside, as PEFT saves it)
  head.safetensors                                 the mean head: weight (c, d), bias (c,)
  honed.json                                       everything else that a prediction depends on
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.bases import ResolvedBase
from honed.errors import BaseModelError, OutputError, RunFolderError
from honed.methods.base import get_method

if TYPE_CHECKING:
    import torch

FORMAT = 1
_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class ArtifactInfo:
    """What `honed.json` holds.

    base_* : the base the adapter was trained on; `base_sha256` must match at loading.
    tokenizer_sha256 : of the tokenizer's vocabulary and rules.    temperature : divides the logits.
    n_layers, depth : adapted are the top `depth` of `n_layers`.
    """

    base: str
    base_hub_id: str | None
    base_revision: str | None
    base_sha256: str
    tokenizer_sha256: str
    task: str
    method: str
    method_options: dict[str, Any]
    head: str
    label_names: tuple[str, ...]
    max_tokens: int
    temperature: float
    n_layers: int
    depth: int
    dtype: str
    dataset_fingerprint: str
    format: int = FORMAT


@dataclass(frozen=True)
class Artifact:
    """info, and the learned tensors under the keys of `Stack.slot_state` (`adapter.*`, `head.*`)."""

    info: ArtifactInfo
    state: dict[str, torch.Tensor]


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of everything that decides how a text becomes tokens."""
    import hashlib

    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    rules = json.loads(text) if backend is not None else text
    if isinstance(rules, dict):
        rules.pop("truncation", None)  # set by the last call, not by the model
        rules.pop("padding", None)
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def save_artifact(folder: Path, artifact: Artifact, *, sites: list[str], head_modules: list[str]) -> None:
    """Write the artifact beside `folder`, then put it in place whole.

    sites : full paths of the adapted modules.    head_modules : names of a native head's modules.
    """
    import shutil

    from safetensors.torch import save_file

    info = artifact.info
    method = get_method(info.method)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    is_native = info.head == "native"
    kind: dict[str, Any] = {
        "base_model_name_or_path": info.base_hub_id or info.base,
        "revision": info.base_revision,
        "task_type": "SEQ_CLS" if is_native else "FEATURE_EXTRACTION",
        "modules_to_save": head_modules if is_native else None,
    }
    config = method.peft_config(method.options(**info.method_options), sites, kind)
    parts: dict[str, dict[str, torch.Tensor]] = {"adapter": {}, "head": {}}
    for key, tensor in artifact.state.items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor.contiguous()
    tensors = {_PEFT_PREFIX + name: tensor for name, tensor in parts["adapter"].items()}
    if is_native:
        tensors |= {_PEFT_PREFIX + name: tensor for name, tensor in parts["head"].items()}
    else:
        save_file(parts["head"], partial / "head.safetensors")
    save_file(tensors, partial / "adapter_model.safetensors", metadata={"format": "pt"})
    write_json(partial / "adapter_config.json", config)
    write_json(partial / "honed.json", asdict(info))
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def load_artifact(folder: Path) -> Artifact:
    """Read an artifact.

    Raises RunFolderError if a file is missing, truncated or of a newer format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    remedy = "Train again with `honed fit`, or copy the whole adapter folder again."
    try:
        fields = json.loads((folder / "honed.json").read_text(encoding="utf-8"))
        if fields.get("format") != FORMAT:
            raise RunFolderError(
                f"{folder / 'honed.json'} has format {fields.get('format')!r}; this honed reads {FORMAT}.",
                remedy="Use the honed version that wrote it.",
            )
        info = ArtifactInfo(**{**fields, "label_names": tuple(fields["label_names"])})
        tensors = load_file(folder / "adapter_model.safetensors")
        head = load_file(folder / "head.safetensors") if info.head == "mean" else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        reason = f"{error}".splitlines()[0] if str(error) else type(error).__name__
        raise RunFolderError(f"The artifact in {folder} cannot be read.", cause=f"{reason}.", remedy=remedy) from error
    state = {f"head.{name}": tensor for name, tensor in head.items()}
    for key, tensor in tensors.items():
        name = key.removeprefix(_PEFT_PREFIX)
        state[f"{'adapter' if '.lora_' in name or info.head == 'mean' else 'head'}.{name}"] = tensor
    return Artifact(info, state)


def check_base(info: ArtifactInfo, base: ResolvedBase) -> None:
    """Refuse a base that is not the one the adapter was trained on.

    Raises BaseModelError with both names and hashes.
    """
    if base.sha256 != info.base_sha256:
        raise BaseModelError(
            f"This adapter was trained on base {info.base!r} (sha256 {info.base_sha256[:12]}...), but {base.name!r} at "
            f"{base.path} has sha256 {base.sha256[:12]}...",
            cause="An adapter on another base gives confident nonsense.",
            remedy="Use the base it was trained on, or train again.",
        )


def write_json(path: Path, value: Any) -> None:
    """Write JSON (no NaN) whole or not at all.

    Raises OutputError if the disk is full or the folder cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}.", remedy="Free space or choose another --out."
        ) from error
