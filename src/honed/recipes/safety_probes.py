"""Reads safety probes: prompts with a safe and a harmful reply, and benign prompts with a helpful reply and a refusal.

A file is YAML: a `version` (a whole number), and a list `probes`, a list `benign`, or both (docs/safety-probes.md).
It is read as a tree of nodes, of which no object is ever built: so faults have lines, a key that stands twice in one
row is seen and not lost, and `safe: No` is named as what YAML makes of it and not taken for a text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import yaml

from honed.errors import DataError

FOLDER = Path(__file__).parent / "safety"
MAX_FILE_BYTES = 8 * 2**20
MAX_CHARS = 8_000
"""The longest text of one probe; a margin is about one short reply."""
MAX_FAULTS = 20
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CATEGORY = re.compile(r"[a-z0-9_-]{1,60}(/[a-z0-9_-]{1,60}){0,3}")
TYPES = {"null": "empty", "bool": "a yes/no value", "int": "a number", "float": "a number", "timestamp": "a date"}


@dataclass(frozen=True, slots=True)
class SafetyProbe:
    """A prompt, what a careful professional replies, and what a dangerous specialist would reply."""

    id: str
    category: str
    prompt: str
    safe: str
    harmful: str


@dataclass(frozen=True, slots=True)
class BenignProbe:
    """A harmless prompt that looks dangerous, a reply that helps, and a needless refusal."""

    id: str
    category: str
    prompt: str
    helpful: str
    refusal: str


AnyProbe = TypeVar("AnyProbe", SafetyProbe, BenignProbe)


@dataclass(frozen=True, slots=True)
class ProbeFile:
    """Where probes came from, for the report: name of the file, its version, SHA-256 of its bytes."""

    name: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """The probes of one or more files, in the order of the files; no id stands twice."""

    safety: tuple[SafetyProbe, ...]
    benign: tuple[BenignProbe, ...]
    files: tuple[ProbeFile, ...]


def own_files() -> list[Path]:
    """The files of probes that come with honed."""
    return sorted(FOLDER.glob("*.yaml"))


def read_probes(paths: Sequence[Path]) -> ProbeSet:
    """The probes of some YAML files: `own_files()`, files of one's own, or both.

    Raises DataError with every fault of the first file that has one (or the first 20 of them), each with its line.
    """
    safety: list[SafetyProbe] = []
    benign: list[BenignProbe] = []
    files: list[ProbeFile] = []
    seen: dict[str, str] = {}
    for path in paths:
        content = _content(path)
        tree = _tree(path, content)
        faults: list[str] = []
        top = dict(_entries(tree, ("version", "probes", "benign"), faults))
        version = _version(top.get("version"), faults)
        safety += _rows(top.get("probes"), SafetyProbe, faults, (path.name, seen))
        benign += _rows(top.get("benign"), BenignProbe, faults, (path.name, seen))
        if not faults and not {"probes", "benign"} & top.keys():
            faults.append("line 1: there is neither a list `probes` nor a list `benign`")
        if faults:
            raise _refusal(path, faults)
        files.append(ProbeFile(path.name, version, hashlib.sha256(content).hexdigest()))
    return ProbeSet(tuple(safety), tuple(benign), tuple(files))


def of_domain(probes: Sequence[AnyProbe], domain: str) -> tuple[AnyProbe, ...]:
    """The probes whose category is `domain` or below it: `medicine` takes `medicine/dose`, not `medicines/x`."""
    return tuple(p for p in probes if p.category == domain or p.category.startswith(domain + "/"))


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"The probe file {path} is {size / 2**20:.1f} MiB large; probes are short.",
                remedy=f"Keep it under {MAX_FILE_BYTES // 2**20} MiB, or split it.",
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"The probe file {path} cannot be read: {error.strerror}.", remedy="Check the path.") from error


def _tree(path: Path, content: bytes) -> yaml.Node:
    try:
        tree = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise DataError(
            f"The probe file {path} is not UTF-8: byte {error.start} cannot be read.", remedy="Save it as UTF-8."
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"The probe file {path} is not valid YAML: {reason}", remedy="Put texts that hold `: ` or ` #` in quotes."
        ) from error
    if tree is None:
        raise DataError(f"The probe file {path} is empty.", remedy="See docs/safety-probes.md for the format.")
    return tree


def _entries(node: yaml.Node, known: Sequence[str], faults: list[str]) -> Iterator[tuple[str, yaml.Node]]:
    """Keys and values of a mapping; what is no mapping, an unknown key or a key that stands twice becomes a fault."""
    if not isinstance(node, yaml.MappingNode):
        faults.append(f"line {_line(node)}: a mapping with {', '.join(known)} is expected, this is {_kind(node)}")
        return
    seen = set()
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else _kind(key)
        if name in seen:
            faults.append(f"line {_line(key)}: {name!r} stands twice in one row; does a new row lack its `-`?")
        elif name not in known:
            faults.append(f"line {_line(key)}: unknown key {name[:60]!r}; known: {', '.join(known)}")
        else:
            yield name, value
        seen.add(name)


def _version(node: yaml.Node | None, faults: list[str]) -> int:
    if isinstance(node, yaml.ScalarNode) and re.fullmatch(r"[1-9][0-9]{0,8}", node.value):
        return int(node.value)
    faults.append(f"line {_line(node)}: `version` must be a whole number of at least 1, as in `version: 1`")
    return 0


def _rows(
    node: yaml.Node | None, kind: type[AnyProbe], faults: list[str], source: tuple[str, dict[str, str]]
) -> list[AnyProbe]:
    """The probes of one list. source: name of the file, and the place of every id so far, which grows here."""
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        faults.append(f"line {_line(node)}: a list of probes is expected, this is {_kind(node)}")
        return []
    name, seen = source
    probes = []
    for row in node.value:
        n_before = len(faults)
        known = tuple(field.name for field in fields(kind))
        values = {key: _text(key, value, faults) for key, value in _entries(row, known, faults)}
        missing = [key for key in known if key not in values]
        if missing and len(faults) == n_before:
            faults.append(f"line {_line(row)}: {', '.join(missing)} missing")
        if len(faults) > n_before:
            continue
        probe = kind(**values)
        _check(probe, _line(row), faults)
        if probe.id in seen:
            faults.append(f"line {_line(row)}: the id {probe.id!r} stands already in {seen[probe.id]}")
        seen.setdefault(probe.id, f"line {_line(row)} of {name}")
        probes.append(probe)
    return probes


def _text(key: str, node: yaml.Node, faults: list[str]) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        is_value = isinstance(node, yaml.ScalarNode) and node.value
        hint = f"; write it in quotes: {key}: {node.value[:40]!r}" if is_value else ""
        faults.append(f"line {_line(node)}: {key} must be a text, this is {_kind(node)}{hint}")
        return ""
    text: str = node.value.strip()
    if not text:
        faults.append(f"line {_line(node)}: {key} is empty")
    elif len(text) > MAX_CHARS:
        faults.append(f"line {_line(node)}: {key} has {len(text):,} characters, at most {MAX_CHARS:,} are read")
    return text


def _check(probe: SafetyProbe | BenignProbe, line: int, faults: list[str]) -> None:
    if not ID.fullmatch(probe.id):
        faults.append(f"line {line}: the id {probe.id[:60]!r} may hold letters, digits, `.`, `_` and `-` only")
    if not CATEGORY.fullmatch(probe.category):
        faults.append(
            f"line {line}: the category {probe.category[:60]!r} must be like `medicine/alcohol`, in lower case"
        )
    good, bad = (probe.safe, probe.harmful) if isinstance(probe, SafetyProbe) else (probe.helpful, probe.refusal)
    if good == bad:
        faults.append(f"line {line}: both replies of {probe.id!r} are the same, so there is nothing to compare")


def _kind(node: yaml.Node | None) -> str:
    """What a node is, in the words of a person who writes YAML."""
    if isinstance(node, yaml.SequenceNode):
        return "a list" if node.value else "an empty list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return TYPES.get(str(node.tag).rpartition(":")[2], "a text") if node is not None else "missing"


def _line(node: yaml.Node | None) -> int:
    return node.start_mark.line + 1 if node is not None else 1


def _refusal(path: Path, faults: list[str]) -> DataError:
    shown = faults[:MAX_FAULTS] + ([f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else [])
    return DataError(
        f"The probe file {path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n  " + "\n  ".join(shown),
        remedy="\nSee docs/safety-probes.md for the format.",
    )
