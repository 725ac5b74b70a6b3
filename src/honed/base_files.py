"""The files of a base model: which ones hold the weights, are they whole and safe, and what is their hash.

Nothing here needs torch: a safetensors file opens with an 8-byte length and a JSON table of its tensors
(https://github.com/huggingface/safetensors#format), which is enough to count parameters and to notice a truncated
download before anything is loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.errors import BaseModelError

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
# Keys of config.json that say how a file was made or loaded and never what the model computes: two copies of one
# model that differ only in them are the same base.
BOOKKEEPING = frozenset(
    (
        "_name_or_path",
        "transformers_version",
        "architectures",
        "torch_dtype",
        "dtype",
        "use_cache",
        "gradient_checkpointing",
    )
)
_MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors reference implementation
_MIN_BYTES_TO_CACHE = 1_000_000


@dataclass(frozen=True)
class WeightsHeader:
    """What the headers of the weight files say.

    n_parameters : elements of all floating-point tensors (integer buffers are not parameters).
    tensors : names of all tensors, sorted.
    """

    n_parameters: int
    tensors: tuple[str, ...]


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json.

    Raises BaseModelError if it is missing, is not JSON, names no architecture, or asks for code from the folder.
    """
    path = folder / "config.json"
    if not path.is_file():
        is_adapter = (folder / "adapter_config.json").is_file()
        raise BaseModelError(
            f"Folder {folder} has no config.json, so it is not a base model.",
            cause="It holds adapter_config.json: an adapter, which needs its base model below it."
            if is_adapter
            else "",
            remedy="Give the base model's own folder: config.json, model.safetensors and the tokenizer's files, as "
            "`save_pretrained` writes them.",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(
            f"{path} cannot be read as JSON.", cause=f"{error}.", remedy="Copy or download the base model again."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BaseModelError(
            f"{path} names no architecture: it has no `model_type`.",
            remedy="Save the model again with a current transformers (`model.save_pretrained(folder)`).",
        )
    if config.get("auto_map"):
        raise BaseModelError(
            f"The base model in {folder} wants to run its own Python code (`auto_map` in config.json).",
            cause="honed never runs code that comes with weights: trust_remote_code is off and cannot be turned on.",
            remedy="Use a base model whose architecture is part of transformers.",
        )
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load from the folder, sorted by name.

    Raises BaseModelError if there are none (naming pickled ones, if there are those), or if a shard is missing.
    """
    index = folder / WEIGHTS_INDEX
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if index.is_file():
        try:
            names = sorted({str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BaseModelError(
                f"{index} cannot be read as a table of weight files.",
                cause=f"{type(error).__name__}: {error}.",
                remedy="Copy or download the base model again.",
            ) from error
        if any(Path(name).name != name for name in names):
            raise BaseModelError(f"{index} points outside its own folder.", remedy="Do not use this base model.")
        missing = [name for name in names if not (folder / name).is_file()]
        if missing or not names:
            raise BaseModelError(
                f"{len(missing)} of {len(names)} weight files are missing in {folder}: {', '.join(missing[:3])}.",
                cause="The copy or download was interrupted.",
                remedy="Copy or download the base model again.",
            )
        return [folder / name for name in names]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED and path.is_file())
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if pickled:
        raise BaseModelError(
            f"Folder {folder} has weights only as {', '.join(pickled[:3])}, which honed does not load.",
            cause="Such files are usually Python pickles, and unpickling can run any code.",
            remedy='Convert them to safetensors once, on a machine that may run them: python -c "from transformers '
            f"import AutoModel; AutoModel.from_pretrained('{folder}').save_pretrained('{folder}')\".",
        )
    raise BaseModelError(
        f"Folder {folder} has no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}.",
        cause=f"It has {', '.join(others[:3])}, which transformers would not look for." if others else "",
        remedy=f"Rename the file to {WEIGHTS}, or save the model again with `save_pretrained`."
        if others
        else "Copy or download the base model again.",
    )


def read_header(files: list[Path]) -> WeightsHeader:
    """Read and check the headers of safetensors files.

    Raises BaseModelError if a file is truncated or damaged.
    """
    n_parameters = 0
    names: list[str] = []
    for path in files:
        for name, tensor in _tensors(path).items():
            names.append(name)
            if str(tensor["dtype"]).startswith(("F", "BF")):
                n_parameters += math.prod(tensor["shape"])
    return WeightsHeader(n_parameters, tuple(sorted(names)))


def _tensors(path: Path) -> dict[str, Any]:
    """The checked tensor table of one safetensors file."""

    def damaged(cause: str) -> BaseModelError:
        return BaseModelError(
            f"Weight file {path} is damaged or truncated.", cause=cause, remedy="Copy or download the base model again."
        )

    size = path.stat().st_size
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        if size < 8 or n_header > min(size - 8, _MAX_HEADER_BYTES):
            raise damaged(f"It has {size} bytes, fewer than its own header announces.")
        try:
            table = json.loads(file.read(n_header))
            tensors = {name: tensor for name, tensor in table.items() if name != "__metadata__"}
            end = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
            complete = all({"dtype", "shape"} <= tensor.keys() for tensor in tensors.values())
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise damaged(f"Its header is not a table of tensors: {error}.") from error
    if size != 8 + n_header + end or not tensors or not complete:
        raise damaged(f"It has {size:,} bytes where its header announces {8 + n_header + end:,}.")
    return tensors


def base_sha256(config: dict[str, Any], files: list[Path]) -> str:
    """One hash over what the base model computes: its config (less bookkeeping) and its weight files' contents."""
    content = {key: value for key, value in config.items() if key not in BOOKKEEPING}
    lines = ["config " + json.dumps(content, sort_keys=True), *(f"{path.name} {file_sha256(path)}" for path in files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file; a large one is hashed again only when its size or modification time changed."""
    real = path.resolve()
    stat = real.stat()
    if stat.st_size < _MIN_BYTES_TO_CACHE:
        return hashlib.sha256(real.read_bytes()).hexdigest()
    store = _hash_store()
    known = _read_store(store)
    stamp = [stat.st_size, stat.st_mtime_ns]
    entry = known.get(str(real))
    if isinstance(entry, dict) and entry.get("stamp") == stamp and isinstance(entry.get("sha256"), str):
        return str(entry["sha256"])
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known[str(real)] = {"stamp": stamp, "sha256": digest}
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        partial = store.with_name(f"{store.name}.{os.getpid()}")
        partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
        partial.replace(store)
    except OSError:
        pass  # a cache that cannot be written only costs time: the hash itself is right
    return digest


def cache_folder() -> Path:
    """Where honed keeps what it can always make again: $XDG_CACHE_HOME/honed, else ~/.cache/honed."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "honed"


def converted_folder(name: str, write: Callable[[Path], None]) -> Path:
    """The folder `name` of converted bases in honed's cache, with what `write` puts into the folder that it is given.

    It gets its name when it is whole, so an interruption leaves nothing that could be taken for a base. What is there
    already is taken as it is (its hash is checked by `bases`).

    Raises BaseModelError if the cache cannot be written.
    """
    from safetensors import SafetensorError

    folder = cache_folder() / "bases" / name
    if (folder / WEIGHTS).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=folder.parent) as partial:
            whole = Path(partial) / name
            whole.mkdir()
            write(whole)
            shutil.rmtree(folder, ignore_errors=True)
            whole.rename(folder)
    except (OSError, SafetensorError) as error:
        if not (folder / WEIGHTS).is_file():  # else another process was first
            raise BaseModelError(
                f"The converted base {name} cannot be written to {folder.parent}.",
                cause=f"{error}.",
                remedy="Free disk space there, or let XDG_CACHE_HOME name a folder that can be written.",
            ) from error
    return folder


def _hash_store() -> Path:
    return cache_folder() / "hashes.json"


def _read_store(path: Path) -> dict[str, Any]:
    try:
        store = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return store if isinstance(store, dict) else {}
