"""Finds control tokens that somebody typed into a text; some tokenizers have thousands of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

BREAK = "\U000f0000"
"""Stands in a text where it is cut before it becomes tokens; a private character, taken out of every message."""


class ControlStrings:
    """Some strings. A text is looked up in time that does not depend on how many they are, unlike with one pattern."""

    def __init__(self, strings: Iterable[str]) -> None:
        self.strings = frozenset(strings)
        self._lengths = sorted({len(string) for string in self.strings}, reverse=True)
        first = "".join(sorted({string[0] for string in self.strings}))
        self._first = re.compile(f"[{re.escape(first)}]" if first else "(?!)")

    def __contains__(self, string: str) -> bool:
        return string in self.strings

    def starts(self, text: str) -> Iterator[tuple[int, str]]:
        """Where each one begins in the text, and which; of several that begin there, the longest."""
        end = 0
        for match in self._first.finditer(text):
            start = match.start()
            if start >= end:
                pieces = (text[start : start + n] for n in self._lengths)
                found = next((piece for piece in pieces if piece in self.strings), None)
                if found is not None:
                    end = start + len(found)
                    yield start, found

    def cut(self, text: str) -> str:
        """The text with a `BREAK` after the first character of each, so that none is whole."""
        plain = text.replace(BREAK, "")
        begin, parts = 0, []
        for start, _ in self.starts(plain):
            parts.append(plain[begin : start + 1])
            begin = start + 1
        return BREAK.join([*parts, plain[begin:]])
