"""The demo's data: snippets of software licences, to be sorted into categories (permissive, copyleft, ...).

Source: the PyPI package `licensedcode-data` (ScanCode's licence rules, CC-BY-4.0,
https://scancode-licensedb.aboutcode.org). Each rule file is a text that was found in real source code, with the licence
it belongs to; each licence has a category, given by people. Several snippets come from one licence and resemble each
other, so the licence is the group: on random folds a model would be examined on licences it has already seen.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from honed.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE = "licensedcode-data"
VERSION = "32.1.0"
N_CATEGORIES = 5
MIN_CHARACTERS = 80  # shorter ones are names ("MIT License"), not texts
MAX_CHARACTERS = 1000

_KEY = re.compile(rb"^(license_expression|key|category):[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class _Snippet:
    id: str
    text: str
    category: str
    licence: str


def load_licence_snippets(max_rows: int = 600, per_licence: int = 3, seed: int = 0) -> pa.Table:
    """Licence snippets as a table with the columns id, text, label (the category) and licence (the group).

    The rows are the same for the same arguments on every machine: the choice depends on hashes of the file names and
    the seed, never on the order in which a file system lists them. No licence has more than `per_licence` rows, no
    category more than `max_rows / 5`; no two texts have the same words.

    max_rows : at most this many rows, over the five categories with the most licences.
    per_licence : at most this many snippets of one licence.

    Raises UsageError if the package is not installed or a number is not positive, DataError if its files are damaged.
    """
    import pyarrow as pa

    if max_rows < N_CATEGORIES or per_licence < 1:
        raise UsageError(
            f"The demo's data cannot have max_rows={max_rows} and per_licence={per_licence}.",
            remedy=f"Use at least {N_CATEGORIES} rows and 1 snippet per licence.",
        )
    folder = _package_data()
    snippets = _read_snippets(folder / "rules", _read_categories(folder / "licenses"))
    rows = _choose(snippets, max_rows=max_rows, per_licence=per_licence, seed=seed)
    return pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "text": pa.array([row.text for row in rows], pa.string()),
            "label": pa.array([row.category for row in rows], pa.string()),
            "licence": pa.array([row.licence for row in rows], pa.string()),
        }
    )


def _package_data() -> Path:
    """The package's folder of data; found without importing anything from it."""
    spec = importlib.util.find_spec("licensedcode")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / "data" / "rules").is_dir():
            return Path(location) / "data"
    raise UsageError(
        f"The demo's data are not installed: the package {PACKAGE} is missing.",
        remedy=f"pip install 'honed[demo]' (or pip install --no-deps {PACKAGE}=={VERSION}).",
    )


def _read_categories(folder: Path) -> dict[str, str]:
    """licence key -> category."""
    categories = {}
    for entry in os.scandir(folder):
        if entry.name.endswith(".LICENSE"):
            head, _ = _front_matter(Path(entry.path).read_bytes())
            fields = {name: value.decode() for name, value in _KEY.findall(head)}
            if b"key" in fields and b"category" in fields:
                categories[fields[b"key"]] = fields[b"category"]
    if not categories:
        raise DataError(
            f"{folder} holds no licence with a category.",
            cause=f"The installed {PACKAGE} is damaged or of another version than {VERSION}.",
            remedy=f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}",
        )
    return categories


def _read_snippets(folder: Path, categories: dict[str, str]) -> list[_Snippet]:
    """Texts and notices of exactly one licence, in no particular order.

    There are some 35,000 files: a YAML parser needs a minute for them, three keys at known places need a second.
    """
    snippets = []
    for entry in os.scandir(folder):
        if not entry.name.endswith(".RULE"):
            continue
        with open(entry.path, "rb") as file:  # noqa: PTH123 - Path.open costs a third of the whole time here
            head, body = _front_matter(file.read())
        if b"\nis_license_text: yes" not in head and b"\nis_license_notice: yes" not in head:
            continue
        licence = next((value.decode() for name, value in _KEY.findall(head) if name == b"license_expression"), "")
        if licence not in categories:  # "mit AND zlib" and other expressions are no key
            continue
        text = _clean(body.decode("utf-8", "replace"))
        if len(text) >= MIN_CHARACTERS:
            snippets.append(_Snippet(entry.name.removesuffix(".RULE"), text, categories[licence], licence))
    return snippets


def _front_matter(content: bytes) -> tuple[bytes, bytes]:
    """Split a file at its two lines of dashes; ("", "") if it has none."""
    end = content.find(b"\n---", 3)
    if not content.startswith(b"---") or end < 0:
        return b"", b""
    return content[: end + 1], content[end + 4 :]


def _clean(body: str) -> str:
    """One line of text, cut between words, without ScanCode's `{{required phrase}}` marks."""
    text = " ".join(body.replace("{{", "").replace("}}", "").split())
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS + 1].rsplit(" ", 1)[0][:MAX_CHARACTERS]


def _choose(snippets: list[_Snippet], *, max_rows: int, per_licence: int, seed: int) -> list[_Snippet]:
    """Few snippets per licence, an equal ceiling per category, no text twice; sorted by id."""

    def lot(name: str) -> str:
        return hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()

    licences: dict[str, set[str]] = {}
    for snippet in snippets:
        licences.setdefault(snippet.category, set()).add(snippet.licence)
    largest = sorted(licences, key=lambda category: (-len(licences[category]), category))[:N_CATEGORIES]

    taken: dict[str, int] = dict.fromkeys(largest, 0)
    from_licence: dict[str, int] = {}
    seen: set[str] = set()
    chosen = []
    for snippet in sorted(snippets, key=lambda s: (lot(s.licence), lot(s.id))):
        if snippet.category not in taken or taken[snippet.category] >= max_rows // N_CATEGORIES:
            continue
        words = " ".join(_WORD.findall(snippet.text.lower()))
        if words in seen or from_licence.get(snippet.licence, 0) >= per_licence:
            continue
        seen.add(words)
        taken[snippet.category] += 1
        from_licence[snippet.licence] = from_licence.get(snippet.licence, 0) + 1
        chosen.append(snippet)
    return sorted(chosen, key=lambda snippet: snippet.id)
