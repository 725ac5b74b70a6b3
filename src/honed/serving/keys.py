"""API keys: a file of their hashes, each with the specialists that it opens.

A key is 32 random bytes, so that a plain SHA-256 cannot be turned back; the key itself is shown once and kept nowhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from honed.errors import OutputError, UsageError

PREFIX = "honed-"
FORMAT = 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Key:
    """Who asks. models : names of the specialists that it opens; `*` stands for any characters."""

    id: str
    sha256: str
    models: tuple[str, ...]
    made: float = 0.0

    def opens(self, model: str) -> bool:
        """Whether it may use the specialist of that name, be there one or not."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


ANYBODY = Key("anybody", "", ("*",))
"""Who asks where no key is wanted."""


class KeyFile:
    """The keys in a file, read again when it changes: a key that is taken out is refused from the next request on.

    Raises UsageError if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = self._stat()
        self._by_hash = {key.sha256: key for key in read_keys(path)}

    def find(self, token: str) -> Key | None:
        """The key, None if there is no such one (any more). While the file is damaged, the keys before it count."""
        stamp = self._stat()
        if stamp != self._stamp:
            try:
                self._by_hash = {key.sha256: key for key in read_keys(self.path)}
                self._stamp = stamp
            except UsageError:
                pass  # it is being edited; asked again at the next request
        return self._by_hash.get(hashlib.sha256(token.encode()).hexdigest())

    def _stat(self) -> tuple[int, int, int]:
        try:
            stat = self.path.stat()
        except OSError:
            return (0, 0, 0)
        return stat.st_mtime_ns, stat.st_ino, stat.st_size


def read_keys(path: Path) -> list[Key]:
    """The keys in a file.

    Raises UsageError if it cannot be read.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        keys = [Key(**row | {"models": tuple(row["models"])}) for row in fields["keys"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"The file of API keys {path} cannot be read.",
            cause=f"{type(error).__name__}: {error}.",
            remedy=f"`honed keys add NAME --keys {path}` makes one.",
        ) from error
    return keys


def add_key(path: Path, name: str, models: Sequence[str]) -> str:
    """Make a key and write its hash into the file. Returns the key, which is nowhere else.

    Raises UsageError if the name is taken or the file cannot be read.
    """
    keys = read_keys(path) if path.exists() else []
    if not _ID.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a key.", remedy="Use letters, digits, dots and hyphens.")
    if any(key.id == name for key in keys):
        raise UsageError(f"{path} already has a key {name!r}.", remedy="Remove it first, or use another name.")
    token = PREFIX + secrets.token_urlsafe(32)
    _write(path, [*keys, Key(name, hashlib.sha256(token.encode()).hexdigest(), tuple(models), round(time.time(), 3))])
    return token


def remove_key(path: Path, name: str) -> None:
    """Take a key out.

    Raises UsageError if there is none of that name.
    """
    keys = read_keys(path)
    rest = [key for key in keys if key.id != name]
    if len(rest) == len(keys):
        raise UsageError(
            f"{path} has no key {name!r}.", remedy=f"It has {', '.join(key.id for key in keys) or 'none'}."
        )
    _write(path, rest)


def _write(path: Path, keys: Sequence[Key]) -> None:
    partial = path.with_name(path.name + ".partial")
    rows: list[dict[str, Any]] = [asdict(key) for key in keys]
    try:
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # nobody else may read it
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, "keys": rows}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror or error}.") from error
