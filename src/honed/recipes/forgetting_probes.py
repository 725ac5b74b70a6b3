"""Reads general language: what the probe `forgetting` holds against the base, and what `--replay` mixes into training.

A file is YAML with a `version` and a list `texts`, a list `instructions`, or both; or plain text, a text per paragraph
(docs/forgetting.md).
"""

from __future__ import annotations

import codecs
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from honed.data.shingles import normalise
from honed.data.text_files import look_through
from honed.errors import DataError

FOLDER = Path(__file__).parent / "general"
MAX_FILE_BYTES = 8 * 2**20
MAX_CHARS = 20_000
"""The longest text of one row, some thousands of tokens; the probe is about passages and short replies."""
MAX_FAULTS = 20
LISTS = ("texts", "instructions")
TYPES = {
    type(None): "empty",
    bool: "a yes/no value",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}
FORMAT = "\nSee docs/forgetting.md for the format."


@dataclass(frozen=True, slots=True)
class GeneralText:
    """A passage of general language. kind : its genre, such as `news` or `letter`."""

    id: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class GeneralInstruction:
    """A request of no domain, with a short right reply."""

    id: str
    category: str
    prompt: str
    reply: str


Row = TypeVar("Row", GeneralText, GeneralInstruction)


@dataclass(frozen=True, slots=True)
class GeneralRows:
    """What one file holds. version : of the file; 1 for plain text. No id stands twice."""

    version: int
    texts: tuple[GeneralText, ...]
    instructions: tuple[GeneralInstruction, ...]


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that stands twice: the plain one silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key, _ in node.value if names.count(key.value) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice.value[:60]!r} stands twice; does a new row lack its `-`?", twice.start_mark
            )
        return super().construct_mapping(node, deep)


def load_general_texts() -> tuple[GeneralText, ...]:
    """The passages that come with honed; they are scored, never trained on."""
    return read_general(FOLDER / "text.yaml").texts


def load_general_instructions() -> tuple[GeneralInstruction, ...]:
    """The general instructions that come with honed; they are scored, never trained on."""
    return read_general(FOLDER / "instructions.yaml").instructions


def load_replay() -> tuple[GeneralInstruction, ...]:
    """The general instructions for `--replay`; they are trained on, never scored."""
    return read_general(FOLDER / "replay.yaml").instructions


def read_general(path: Path) -> GeneralRows:
    """The rows of a file: honed's own, or a user's `.yaml`, `.yml` or `.txt`.

    A `.txt` is cut at blank lines into texts of the kind `text`, named STEM-001, STEM-002, ...

    Raises DataError if it cannot be read, is empty, no UTF-8, too large or no YAML; or with its first 20 faults.
    """
    if path.suffix.lower() not in (".yaml", ".yml", ".txt"):
        raise DataError(
            f"The general file {path} ends in {path.suffix or 'nothing'!r}.",
            remedy="Give a .yaml, .yml or .txt file." + FORMAT,
        )
    content = _content(path)
    faults: list[str] = []
    if path.suffix.lower() == ".txt":
        found = _paragraphs(content, path.stem)
    else:
        found = _rows_of_yaml(_tree(path, content), faults)
    _check_all(found, faults)
    if faults:
        raise _refusal(path, faults)
    return found


def _content(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"The general file {path} is {size / 2**20:.1f} MiB large.",
                cause="Every row is scored by base and specialist.",
                remedy=f"Keep it under {MAX_FILE_BYTES // 2**20} MiB: some hundred short texts are enough.",
            )
        if not path.read_bytes().removeprefix(codecs.BOM_UTF8).strip():
            raise DataError(f"The general file {path} is empty.", remedy="Write at least two rows." + FORMAT)
        look_through(path)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"The general file {path} cannot be read: {error.strerror}.", remedy="Check the path."
        ) from error


def _paragraphs(content: str, stem: str) -> GeneralRows:
    found = [" ".join(part.split()) for part in re.split(r"\n\s*\n", content) if part.strip()]
    texts = tuple(GeneralText(f"{stem}-{number:03d}", "text", text) for number, text in enumerate(found, 1))
    return GeneralRows(1, texts, ())


def _tree(path: Path, content: str) -> object:
    try:
        return yaml.load(content, Loader=_Loader)  # noqa: S506 - a SafeLoader, and stricter
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: what looks like a date and is none
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"The general file {path} is not valid YAML: {reason}", remedy="Put texts that hold `: ` or ` #` in quotes."
        ) from error


def _rows_of_yaml(tree: object, faults: list[str]) -> GeneralRows:
    if not isinstance(tree, dict):
        faults.append(f"a mapping with `version` and `texts` or `instructions` is expected, this is {_kind(tree)}")
        return GeneralRows(0, (), ())
    faults += [_unknown(key, ("version", *LISTS), "at the top") for key in tree if key not in ("version", *LISTS)]
    version = tree.get("version")
    if type(version) is not int or version < 1:
        faults.append("`version` must be a whole number of at least 1, as in `version: 1`")
    if not set(LISTS) & tree.keys():
        faults.append("there is neither a list `texts` nor a list `instructions`")
    texts, instructions = (
        _rows(tree, "texts", GeneralText, faults),
        _rows(tree, "instructions", GeneralInstruction, faults),
    )
    return GeneralRows(version if isinstance(version, int) else 0, texts, instructions)


def _rows(tree: dict[Any, Any], name: str, kind: type[Row], faults: list[str]) -> tuple[Row, ...]:
    if name not in tree:
        return ()
    if not isinstance(tree[name], list) or not tree[name]:
        faults.append(f"`{name}` must be a list of rows, this is {_kind(tree[name])}")
        return ()
    known = tuple(field.name for field in fields(kind))
    rows = []
    for number, row in enumerate(tree[name], 1):
        where = f"row {number} of {name}"
        if not isinstance(row, dict):
            faults.append(f"{where}: a mapping with {', '.join(known)} is expected, this is {_kind(row)}")
            continue
        new = [_unknown(key, known, where) for key in row if key not in known]
        new += [f"{where}: {key} is missing" for key in known if key not in row]
        new += [f"{where}: {key} {_fault(row[key])}" for key in known if key in row and _fault(row[key])]
        faults += new
        if not new:
            rows.append(kind(**{key: row[key].strip() for key in known}))
    return tuple(rows)


def _fault(value: object) -> str:
    """What is wrong with a cell that should be a text; empty if nothing is."""
    if not isinstance(value, str):
        return f"must be a text, this is {_kind(value)}; write it in quotes"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half a surrogate pair, which is no character"
    return "is empty" if not value.strip() else ""


def _check_all(found: GeneralRows, faults: list[str]) -> None:
    """Ids and wordings that stand twice, and texts that are too long. A repeated row would narrow every interval."""
    seen_id: set[str] = set()
    seen_words: dict[str, str] = {}
    rows: list[GeneralText | GeneralInstruction] = [*found.texts, *found.instructions]
    for row in rows:
        parts = (row.text,) if isinstance(row, GeneralText) else (row.prompt, row.reply)
        if row.id in seen_id:
            faults.append(f"the id {row.id[:60]!r} stands twice")
        seen_id.add(row.id)
        first = seen_words.setdefault(normalise(parts[0]), row.id)
        if first != row.id:
            faults.append(f"{row.id[:60]!r} says the same as {first[:60]!r}; remove one")
        if max(map(len, parts)) > MAX_CHARS:
            faults.append(f"{row.id[:60]!r} has {max(map(len, parts)):,} characters, at most {MAX_CHARS:,} are read")


def _unknown(key: object, known: Sequence[str], where: str) -> str:
    near = difflib.get_close_matches(str(key)[:60], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{where}: unknown key {str(key)[:60]!r}; {hint}"


def _kind(value: object) -> str:
    return (
        "an empty list" if value == [] else TYPES.get(type(value), "a date" if not isinstance(value, str) else "a text")
    )


def _refusal(path: Path, faults: list[str]) -> DataError:
    shown = faults[:MAX_FAULTS] + ([f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else [])
    return DataError(
        f"The general file {path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n  " + "\n  ".join(shown),
        remedy=FORMAT,
    )
