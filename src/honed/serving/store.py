"""Where specialists wait to be served: a folder that holds each once, by the hash of its content, and names for them.

    store.json                      the base that all of them share
    contents/<sha256>/              honed.json, the tensors, PEFT's configuration: nothing else, and safetensors alone
    names/<name>.json               which content a name stands for
    audit.jsonl                     every add, replacement and removal

Every file is renamed into its place whole, so that a process may be killed at any time. There is no index to lose: the
folder `names` is the index, and a running server reads it again when it changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from honed.artifact import Artifact, load_artifact
from honed.errors import BaseModelError, OutputError, RunFolderError, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FILES = ("honed.json", "adapter_model.safetensors", "head.safetensors", "adapter_config.json")
"""All that an artifact may consist of; the last two where it has them."""
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A specialist that can be served.

    content : sha256 over its files.    folder : where they lie.    added : seconds since the epoch.
    """

    name: str
    content: str
    folder: Path
    added: float


class Registry(Protocol):
    """What can be served."""

    def entries(self) -> Mapping[str, Entry]:
        """All of it by name, as it is now."""
        ...


class Runs:
    """Specialists in the folders where they were trained; what is there at the start is what is served.

    folders : `adapter/` directories by the name under which each is served.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._entries = {}
        first = ""
        base: dict[str, Any] = {}
        for name, folder in folders.items():
            check_name(name)
            own = base_of(folder)
            base, first = base or own, first or name
            _check_same_base(base, own, first, name)
            self._entries[name] = Entry(name, content_hash(folder), folder, time.time())

    def entries(self) -> Mapping[str, Entry]:
        """See `Registry`."""
        return self._entries


class Store:
    """The folder. Any number of processes may read it; those that write wait for each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names, self._contents = folder / "names", folder / "contents"
        self._read: dict[str, tuple[tuple[int, int, int], Entry]] = {}
        self._stamp: tuple[int, int] | None = None

    @staticmethod
    def open(folder: Path) -> Store:
        """An existing store.

        Raises RunFolderError if there is none.
        """
        if not (folder / "store.json").is_file():
            raise RunFolderError(
                f"{folder} is no store of specialists: it has no store.json.",
                remedy=f"`honed store add RUN --store {folder}` makes one.",
            )
        facts = _read_json(folder / "store.json")
        if facts.get("format") != FORMAT:
            raise RunFolderError(f"{folder} has format {facts.get('format')!r}; this honed reads {FORMAT}.")
        return Store(folder)

    def base(self) -> dict[str, Any]:
        """`base`, `base_hub_id`, `base_revision` and `base_sha256` that all specialists here share."""
        return dict(_read_json(self.folder / "store.json")["base"])

    def entries(self) -> Mapping[str, Entry]:
        """See `Registry`. The names are read again only if the folder changed; a damaged one is left out."""
        try:
            stat = self._names.stat()
        except FileNotFoundError:
            return {}
        # A rename within the clock's grain of the last look could be missed, so a young folder is always read again.
        is_old = time.time_ns() - stat.st_mtime_ns > 2_000_000_000
        if self._stamp == (stat.st_mtime_ns, stat.st_ino) and is_old:
            return {name: entry for name, (_, entry) in self._read.items()}
        found = {}
        with os.scandir(self._names) as files:
            for file in files:
                name = file.name.removesuffix(".json")
                if not file.name.endswith(".json") or not NAME.fullmatch(name):
                    continue
                try:
                    own = file.stat()
                    stamp = (own.st_mtime_ns, own.st_ino, own.st_size)
                    known = self._read.get(name)
                    found[name] = known if known and known[0] == stamp else (stamp, self._entry(name))
                except (OSError, RunFolderError, KeyError, TypeError):
                    continue  # removed just now, or damaged: `damaged` names it
        self._read, self._stamp = found, (stat.st_mtime_ns, stat.st_ino)
        return {name: entry for name, (_, entry) in found.items()}

    def damaged(self) -> list[str]:
        """Names whose file cannot be read or whose content is not there."""
        names = {file.stem for file in self._names.glob("*.json")}
        entries = self.entries()
        return sorted(name for name in names if name not in entries or not entries[name].folder.is_dir())

    def add(self, name: str, source: Path, *, replace: bool = False) -> Entry:
        """Copy the artifact in `source` (an `adapter/` folder) and give it a name.

        Raises UsageError for a name that is taken or cannot be one, BaseModelError for another base than the store's,
        RunFolderError for a damaged artifact, OutputError if the disk is full.
        """
        check_name(name)
        own = base_of(source)
        with self._writing():
            if (self.folder / "store.json").is_file():
                facts = _read_json(self.folder / "store.json")
                _check_same_base(facts["base"], own, str(facts.get("first", self.folder)), name)
            else:
                _write(self.folder / "store.json", {"format": FORMAT, "base": own, "first": name})
            before = self.entries().get(name)
            if before is not None and not replace:
                raise UsageError(
                    f"The store already has a specialist {name!r} (content {before.content[:12]}).",
                    remedy="Use --replace, or another --name.",
                )
            content = self._take(source)
            entry = {"name": name, "content": content, "added": time.time()}
            _write(self._names / f"{name}.json", entry)
            self._log("replace" if before else "add", name, content)
            self._drop_unnamed()
        return self._entry(name)

    def remove(self, name: str) -> None:
        """Take a name away, and its content if no other name stands for it.

        Raises UsageError if there is none.
        """
        with self._writing():
            entry = self.entries().get(name)
            path = self._names / f"{name}.json"
            if not NAME.fullmatch(name) or not path.is_file():
                raise UsageError(f"The store has no specialist {name!r}.", remedy="`honed store list` shows all.")
            path.unlink()
            _sync(self._names)
            self._log("remove", name, entry.content if entry else "")
            self._drop_unnamed()

    def _entry(self, name: str) -> Entry:
        fields = _read_json(self._names / f"{name}.json")
        content = str(fields["content"])
        if not re.fullmatch(r"[0-9a-f]{64}", content):
            raise RunFolderError(f"{self._names / name}.json names no content.")
        return Entry(name, content, self._contents / content, float(fields["added"]))

    def _take(self, source: Path) -> str:
        """Copy the files of an artifact in; the hash of what was copied."""
        partial = self._contents / f".partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            for name in FILES:
                if (source / name).is_file():
                    shutil.copyfile(source / name, partial / name)
                    _sync(partial / name)
            load_checked(partial, shown=source)
            content = content_hash(partial)
            target = self._contents / content
            if target.is_dir() and content_hash(target) != content:
                shutil.rmtree(target)  # damaged since: this is the repair
            if not target.is_dir():
                partial.rename(target)
            _sync(self._contents)
        except OSError as error:
            raise OutputError(
                f"The specialist could not be copied to {self._contents}: {error.strerror or error}.",
                remedy="Free space, or choose another --store.",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return content

    def _drop_unnamed(self) -> None:
        """Remove contents that no name stands for: of removed names, and of an add that was killed half way.

        Nothing is removed while a name cannot be read: its content may be one of them.
        """
        if self.damaged():
            return
        named = {entry.content for entry in self.entries().values()}
        for folder in self._contents.iterdir():
            if folder.name not in named:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._names.mkdir(parents=True, exist_ok=True)
            self._contents.mkdir(exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise OutputError(f"The store {self.folder} cannot be written: {error.strerror or error}.") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back by the system if this process dies
            yield

    def _log(self, action: str, name: str, content: str) -> None:
        row = {"time_s": round(time.time(), 3), "action": action, "name": name, "content": content, "uid": os.getuid()}
        with (self.folder / "audit.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def check_name(name: str) -> None:
    """Raises UsageError for what cannot be the name of a specialist."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a specialist.",
            cause="A name has letters, digits, dots, underscores and hyphens, begins with a letter or digit, and is at "
            "most 100 long.",
            remedy="Give another one with --name.",
        )


def content_hash(folder: Path) -> str:
    """sha256 over the names and contents of an artifact's files.

    Raises RunFolderError if a file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for name in sorted(FILES):
            if (folder / name).is_file():
                with (folder / name).open("rb") as file:
                    digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def load_entry(entry: Entry) -> Artifact:
    """The artifact of an entry.

    Raises RunFolderError, with the specialist's name, if its files are not those that were added or hold numbers that
    are not finite.
    """
    found = content_hash(entry.folder)
    if found != entry.content:
        raise RunFolderError(
            f"The files of specialist {entry.name!r} in {entry.folder} are damaged: their hash is {found[:12]}..., not "
            f"{entry.content[:12]}...",
            remedy=f"Add it again: `honed store add RUN --name {entry.name} --replace`.",
        )
    return load_checked(entry.folder)


def load_checked(folder: Path, *, shown: Path | None = None) -> Artifact:
    """The artifact in `folder`.    shown : how errors call it.

    Raises RunFolderError if it is damaged or holds numbers that are not finite.
    """
    import torch

    artifact = load_artifact(folder)
    bad: Sequence[str] = [name for name, tensor in artifact.state.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise RunFolderError(
            f"The specialist in {shown or folder} has numbers that are not finite, first in {bad[0]}.",
            cause="Its answers would be NaN.",
            remedy="Train it again.",
        )
    return artifact


def base_of(folder: Path) -> dict[str, Any]:
    """The base that the artifact in `folder` was trained on.

    Raises RunFolderError if its honed.json cannot be read.
    """
    fields = _read_json(folder / "honed.json")
    try:
        return {name: fields[name] for name in ("base", "base_hub_id", "base_revision", "base_sha256")}
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{folder / 'honed.json'} does not say its base.") from error


def _check_same_base(expected: Mapping[str, Any], found: Mapping[str, Any], first: str, name: str) -> None:
    if expected["base_sha256"] != found["base_sha256"]:
        raise BaseModelError(
            f"Specialist {name!r} was trained on base {found['base']!r} (sha256 {found['base_sha256'][:12]}...), but "
            f"{first!r} on {expected['base']!r} (sha256 {expected['base_sha256'][:12]}...).",
            cause="Specialists that are served together share one base.",
            remedy="Serve it from another store.",
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read.", cause=f"{type(error).__name__}: {error}.") from error
    if not isinstance(fields, dict):
        raise RunFolderError(f"{path} cannot be read: it is no JSON object.")
    return fields


def _write(path: Path, fields: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            json.dump(fields, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}.") from error


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, outlive a crash of the machine."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
