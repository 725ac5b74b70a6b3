"""What the surface of a text shows without its words: length, case, blanks, marks, how it begins and ends."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from honed.data.dataset import Dataset
from honed.data.traits import Trait

_WORDS_OF_TEXT = 4
_ODD_BLANK = re.compile(r"[^\S \n\t]")
_DOUBLE = re.compile(r"\S[^\S\n]{2,}(?=\S)")
_QUOTES = (
    "'",
    '"',
    "`",
    "\u2018\u2019",
    "\u201c\u201d\u201e",
    "\u00ab\u00bb",
    "\u2026",
    "\u2013\u2014",
    "()",
    "[]",
    "{}",
)


def own_texts(rows: Dataset) -> list[str]:
    """The texts whose surface says something: none of images, nor of a table whose cells a template joined."""
    words = [np.median([len(cell.split()) for cell in cells.tolist()]) for cells in rows.columns.values()]
    is_table = bool(words) and max(words) < _WORDS_OF_TEXT
    return rows.inputs if not is_table and all(isinstance(text, str) for text in rows.inputs) else []


def surface_traits(texts: Sequence[str]) -> list[Trait]:
    """The traits of n texts, each of which a form, an export or a scraper can leave on the rows of one class."""

    def numbers(name: str, rows: list[list[float]]) -> Trait:
        return Trait(name, np.array(rows, dtype=np.float64), name, "surface")

    def strings(name: str, cells: list[str]) -> Trait:
        return Trait(name, np.array(cells, dtype=np.object_), name, "surface")

    return [
        numbers("text length", [[float(len(text)), float(len(text.split()))] for text in texts]),
        numbers("letter case", [_case(text) for text in texts]),
        numbers("the use of blanks and line breaks", [_blanks(text) for text in texts]),
        numbers("the use of quotes, dashes and brackets", [_quotes(text) for text in texts]),
        strings("the first character", [_kind(text.lstrip()[:1]) for text in texts]),
        strings("the last character", [_kind(text.rstrip()[-1:]) for text in texts]),
    ]


def _case(text: str) -> list[float]:
    n_letters, n_upper = sum(map(str.isalpha, text)), sum(map(str.isupper, text))
    first = text.lstrip()[:1]
    return [n_upper / max(n_letters, 1), float(first.isupper()), float(text.isupper())]


def _blanks(text: str) -> list[float]:
    n_lead = len(text) - len(text.lstrip())
    n_tail = len(text) - len(text.rstrip())
    n_odd = len(_ODD_BLANK.findall(text))
    return [float(n) for n in (n_lead, n_tail, len(_DOUBLE.findall(text)), text.count("\n"), text.count("\t"), n_odd)]


def _quotes(text: str) -> list[float]:
    n_characters = max(len(text), 1)
    return [sum(map(text.count, marks)) / n_characters for marks in _QUOTES]


def _kind(character: str) -> str:
    """The character itself if it is a mark, else only which sort it is: words are no surface."""
    if character.isalnum() or not character:
        return unicodedata.category(character) if character else ""
    return character
