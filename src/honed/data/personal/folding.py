"""A text as it is scanned: any script's digits as 0-9, full-width letters as ASCII, without invisible characters.

So a number does not hide behind Arabic or full-width digits, no-break spaces, or a zero-width space in its middle.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_FULL_WIDTH_SHIFT = 0xFEE0
_LINE_ENDS = "\x85\u2028\u2029"


class _Fold(dict[int, int]):
    """Code point -> the one that is scanned in its place; filled as characters come."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        folded = code
        if code < 128:  # an ASCII character means the same in every text
            pass
        elif character.isdecimal():
            folded = ord("0") + unicodedata.decimal(character)
        elif code in _FULL_WIDTH:
            folded = code - _FULL_WIDTH_SHIFT
        elif character in _LINE_ENDS:
            folded = ord("\n")
        elif character.isspace():
            folded = ord(" ")
        elif unicodedata.category(character) == "Pd" or character == "\u2212":
            folded = ord("-")
        elif character in "\u2018\u2019\u02bc":
            folded = ord("'")
        self[code] = folded
        return folded


_FOLD = _Fold()


@dataclass(frozen=True, slots=True)
class Folded:
    """text : to scan.        places : position in the original of each of its characters; None: the same."""

    text: str
    places: list[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where text[start:end] stands in the original."""
        return (start, end) if self.places is None else (self.places[start], self.places[end - 1] + 1)


def fold(text: str) -> Folded:
    """The text to scan; ASCII texts are scanned as they are."""
    if text.isascii():
        return Folded(text, None)
    places = None
    if _INVISIBLE.search(text):
        places = [i for i, character in enumerate(text) if not _INVISIBLE.match(character)]
        text = "".join(text[i] for i in places)
    return Folded(text.translate(_FOLD), places)
