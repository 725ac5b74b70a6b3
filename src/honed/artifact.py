"""The artifact that ships: adapter + head + preprocessing + temperature, in PEFT's own format.

adapter/
  adapter_config.json, adapter_model.safetensors   as PEFT writes them (a native head is inside, as PEFT saves it);
                                                   without adapter_config.json where PEFT has no such adapter
  head.safetensors                                 the mean head: weight (c, d), bias (c,); none of a language model
  honed.json                                       everything else that a prediction depends on
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.bases import ResolvedBase
from honed.errors import BaseModelError, OutputError, RunFolderError
from honed.methods.base import Adapted, PeftFiles, get_method

if TYPE_CHECKING:
    import torch

FORMAT = 1
LANGUAGE = "language"
"""The head that learns nothing: the base's own output layer."""
_TUPLES = ("label_names", "head_modules", "positive")  # lists in JSON


@dataclass(frozen=True)
class ArtifactInfo:
    """What `honed.json` holds.

    base_* : the base the adapter was trained on; `base_sha256` must match at loading.
    tokenizer_sha256 : of the tokenizer's vocabulary and rules, "" without one.    temperature : divides the logits.
    reading : all that decides how an image becomes tensors, or a conversation (its template among it); empty for
        texts to classify, whose length is `max_tokens`.
    ordinal : whether the classes are grades in their order.
    positive, threshold : who has at least this probability of these classes together is called ill; None: nobody asked.
    n_layers, depth : adapted are the top `depth` of `n_layers`.    head_modules : names of a native head's modules.
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
    head_modules: tuple[str, ...] = ()
    reading: dict[str, Any] = field(default_factory=dict)
    ordinal: bool = False
    positive: tuple[str, ...] = ()
    threshold: float | None = None
    format: int = FORMAT


@dataclass(frozen=True)
class Artifact:
    """info, and the learned tensors under the keys of `Stack.slot_state` (`adapter.*`, `head.*`)."""

    info: ArtifactInfo
    state: dict[str, torch.Tensor]


def tokenizer_sha256(tokenizer: Any) -> str:
    """Hash of everything that decides how a text becomes tokens; "" for a task without a tokenizer (None)."""
    import hashlib

    if tokenizer is None:
        return ""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    rules = json.loads(text) if backend is not None else text
    if isinstance(rules, dict):
        rules.pop("truncation", None)  # set by the last call, not by the model
        rules.pop("padding", None)
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()


def save_artifact(folder: Path, artifact: Artifact, *, sites: Sequence[str]) -> None:
    """Write the artifact beside `folder`, then put it in place whole. sites : full paths of the adapted modules."""
    import shutil

    from safetensors.torch import save_file

    info = artifact.info
    method = get_method(info.method)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    parts: dict[str, dict[str, torch.Tensor]] = {"adapter": {}, "head": {}}
    for key, tensor in artifact.state.items():
        part, _, name = key.partition(".")
        parts[part][name] = tensor.contiguous()
    trained = method.options(**info.method_options)
    options, state = method.shipped(trained, parts["adapter"])
    if options != trained:
        info = replace(info, method_options=options.model_dump())
    files = method.to_peft(options, Adapted(tuple(sites), info.n_layers, info.depth, state))
    tensors = files.tensors if files else state
    if info.head_modules:
        tensors = tensors | {method.peft_prefix + name: tensor for name, tensor in parts["head"].items()}
    elif info.head != LANGUAGE:
        save_file(parts["head"], partial / "head.safetensors")
    save_file(tensors, partial / "adapter_model.safetensors", metadata={"format": "pt"})
    if files:
        task_type: str | None = "SEQ_CLS" if info.head_modules else "FEATURE_EXTRACTION"
        if info.head == LANGUAGE:
            task_type = "CAUSAL_LM"
        elif info.reading:
            task_type = None  # PEFT's kinds of task are kinds of text
        kind = {
            "base_model_name_or_path": info.base_hub_id or info.base,
            "revision": info.base_revision,
            "task_type": task_type,
            "modules_to_save": list(info.head_modules) or None,
        }
        write_json(partial / "adapter_config.json", files.config | kind)
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
        info = ArtifactInfo(**fields | {name: tuple(fields.get(name, ())) for name in _TUPLES})
        tensors = load_file(folder / "adapter_model.safetensors")
        has_own = not info.head_modules and info.head != LANGUAGE
        head = load_file(folder / "head.safetensors") if has_own else {}
        peft = folder / "adapter_config.json"
        method = get_method(info.method)
        inside = tuple(f"{method.peft_prefix}{name}." for name in info.head_modules)
        own = {name: tensors.pop(name) for name in list(tensors) if inside and name.startswith(inside)}
        head |= {name.removeprefix(method.peft_prefix): tensor for name, tensor in own.items()}
        if peft.exists():
            files = PeftFiles(json.loads(peft.read_text(encoding="utf-8")), tensors)
            _, tensors = method.from_peft(files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError) as error:
        reason = f"{error}".splitlines()[0] if str(error) else type(error).__name__
        raise RunFolderError(f"The artifact in {folder} cannot be read.", cause=f"{reason}.", remedy=remedy) from error
    state = {f"adapter.{name}": tensor for name, tensor in tensors.items()}
    return Artifact(info, state | {f"head.{name}": tensor for name, tensor in head.items()})


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


def check_tokenizer(info: ArtifactInfo, base: ResolvedBase, found: str) -> None:
    """Refuse a base whose tokenizer is not the one of training. found : `tokenizer_sha256` of it.

    Raises BaseModelError.
    """
    if found != info.tokenizer_sha256:
        raise BaseModelError(
            f"The tokenizer of base {base.name!r} at {base.path} is not the one that this adapter was trained with.",
            cause="The same text would become other tokens.",
            remedy="Restore the tokenizer's files of the base, or train again.",
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
