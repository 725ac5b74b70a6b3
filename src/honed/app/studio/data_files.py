"""The tables that a fit may be started with: those in the studio's data folder, and what is uploaded into it."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from honed.data.conversations import ConversationRoles, find_format, looks_like_instructions
from honed.data.readers import SUFFIXES, open_table
from honed.data.roles import OBVIOUS_ID, Roles, find_group, obvious_column, resolve_roles
from honed.errors import DataError, OutputError, UsageError

MOST_FILES = 1000
_GUESS_ROWS = 1000
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Columns:
    """names : of the table.    guessed : part -> column, as a fit takes them.    problem : why that is not clear.

    are_conversations : the rows teach replies; else they have classes.    form : of conversations, in words.
    """

    names: tuple[str, ...]
    guessed: dict[str, str]
    problem: str = ""
    are_conversations: bool = False
    form: str = ""


def find_tables(root: Path) -> dict[str, Path]:
    """The tables at most two levels below `root`, name -> path; a folder of images with its metadata counts as one."""
    found: dict[str, Path] = {}
    for folder, files in _walk(root):
        place = folder.relative_to(root)
        if place.parts and _is_base(folder):
            continue
        for name in files:
            path = folder / name
            if name[0] == "." or path.suffix.lower() not in SUFFIXES or path.is_symlink():
                continue
            is_metadata = path.stem == "metadata" and place.parts
            found[str(place) if is_metadata else (place / name).as_posix()] = path.parent if is_metadata else path
            if len(found) == MOST_FILES:
                return found
    return found


def find_bases(root: Path) -> dict[str, Path]:
    """The base models at most two levels below `root`, name -> folder."""
    return {
        folder.relative_to(root).as_posix(): folder for folder, _ in _walk(root) if folder != root and _is_base(folder)
    }


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """The folders at most two levels below `root`, each with its files; no hidden ones, and none below a model's."""
    for folder, below, files in os.walk(root, followlinks=False):
        depth = len(Path(folder).relative_to(root).parts)
        is_end = depth == 2 or (depth > 0 and _is_base(Path(folder)))
        below[:] = [] if is_end else sorted(name for name in below if name[0] != ".")
        yield Path(folder), sorted(files)


def _is_base(folder: Path) -> bool:
    """Whether it holds a model's files, and so no tables."""
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def find_table(root: Path, name: str) -> Path:
    """The table called `name`; a client's word is compared with the names that were found, and never becomes a path.

    Raises UsageError if there is none.
    """
    path = find_tables(root).get(name)
    if path is None:
        raise UsageError(f"There is no table {name!r} in the data folder.", remedy="Choose one of the list, or upload.")
    return path


def columns_of(path: Path, learn: str = "") -> Columns:
    """What the first rows say about the columns.

    learn : classes, replies, or "" for what they look like.

    Raises DataError if the file cannot be read as a table.
    """
    table = open_table(str(path)).head(_GUESS_ROWS)
    names = tuple(map(str, table.column_names))
    if learn == "replies" or (not learn and looks_like_instructions(table)):
        return _conversation_columns(table, names)
    try:
        roles: Any = resolve_roles(table, Roles(), require_label=True).roles
    except UsageError as error:
        return Columns(names, {}, str(error))
    parts = ("text", "image", "label", "group", "id")
    return Columns(names, {part: name for part in parts if (name := getattr(roles, part))})


def _conversation_columns(table: Any, names: tuple[str, ...]) -> Columns:
    try:
        form = find_format(table, ConversationRoles())
    except UsageError as error:
        return Columns(names, {}, str(error), are_conversations=True)
    parts = ("messages", "prompt", "response", "system")
    guessed = {part: name for part in parts if (name := getattr(form.columns, part))}
    identifier = obvious_column(list(names), OBVIOUS_ID, form.used())
    if group := find_group(list(names), form.used() | {identifier}, []):
        guessed["group"] = group
    return Columns(names, guessed, are_conversations=True, form=form.sentence())


def refuse_absolute(path: Path, image: str) -> None:
    """Refuse a table whose column of images leads out of its folder: on the command line that is the user's own word,
    here the table may be someone else's. (Relative names that lead outside, `honed.data.image_files` refuses.)

    Raises UsageError, with the row.
    """
    row = 0
    for batch in open_table(str(path)).walk([image]):
        for cell in batch.table.column(image).to_pylist():
            row += 1
            if isinstance(cell, str) and (Path(cell).is_absolute() or PureWindowsPath(cell).is_absolute()):
                raise UsageError(
                    f"Row {row} names its image by an absolute path, which the studio does not follow.",
                    remedy="Put the images below the table's folder, or run `honed fit` on the command line.",
                )


async def keep_upload(root: Path, name: str, chunks: AsyncIterator[bytes]) -> str:
    """Write an uploaded table into the data folder, whole or not at all; returns the name that it got there.

    Raises UsageError for a suffix that is no table's, DataError for an empty file, OutputError if it cannot be written.
    """
    plain = _NOT_PLAIN.sub("-", name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip("-.")[-100:]
    stem, suffix = Path(plain).stem or "table", Path(plain).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{name!r} is no table.", remedy=f"Upload a file of {', '.join(SUFFIXES)}.")
    partial = root / f".{os.urandom(8).hex()}.partial"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            async for chunk in chunks:
                file.write(chunk)
        if not partial.stat().st_size:
            raise DataError(f"{name!r} is empty.")
        for i in range(1, 10_000):
            final = root / (f"{stem}{suffix}" if i == 1 else f"{stem}-{i}{suffix}")
            try:
                os.link(partial, final)  # unlike a renaming, it never takes the place of another file
            except FileExistsError:
                continue
            return final.name
        raise OutputError(f"There are ten thousand files called {plain}.", remedy="Take another name.")
    except OSError as error:
        raise OutputError(f"The upload could not be kept: {error.strerror or error}.", remedy="Free space.") from error
    finally:
        partial.unlink(missing_ok=True)
