"""Checks of single texts: characters that are not meant to be there."""

from __future__ import annotations

import re
import unicodedata

from honed.data.dataset import Dataset
from honed.data.issue_table import Issue

# Control characters but tab and newlines; zero-width space, byte order mark, bidirectional overrides and isolates
# (a text that reads differently from what the model sees), and the replacement character of a failed decoding.
# Zero-width (non-)joiners are left alone: emoji, Persian and Indic scripts need them.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff\ufffd]")
# UTF-8 that was read as Windows-1252 or Latin-1: e acute becomes "Ã©", an apostrophe "â€™".
_MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac[\u2018-\u201d\u2122\u0153\u00a6\u00a2]")


def strange_characters(dataset: Dataset, i: int) -> list[Issue]:
    """`control_characters` and `mojibake` of row i: at most one finding each."""
    text = str(dataset.inputs[i])
    if text.isascii() and text.isprintable():  # as most are: neither pattern can match
        return []
    issues = []
    for check, pattern, meaning in (
        ("control_characters", _CONTROL, "invisible or replaced characters"),
        ("mojibake", _MOJIBAKE, "characters of a wrong decoding (UTF-8 read as Windows-1252)"),
    ):
        found = pattern.findall(text)
        if found:
            shown = ", ".join(
                f"{' '.join(f'U+{ord(c):04X}' for c in piece)} {unicodedata.name(piece[0], 'control')}"
                for piece in sorted(set(found))[:3]
            )
            evidence = f"{len(found)} {meaning}: {shown}; first at character {text.index(found[0]) + 1}."
            score = max(0.0, 0.5 - len(found) / max(len(text), 1))
            issues.append(Issue(check, score, "review", evidence, str(dataset.example_id[i]), int(dataset.row[i])))
    return issues
