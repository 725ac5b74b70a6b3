"""Cells of a CSV file that a person will open in a spreadsheet and give back.

A spreadsheet runs a cell that begins like a formula, and may thereby call other programs or send data away: a text of
somebody else must not do that on the desk of the one who looks at it. Such a cell gets an apostrophe in front, which
spreadsheets then show and save as they find it, and which is taken off again when the file is read.
OWASP, "CSV injection".
"""

from __future__ import annotations

import re

_STARTS = r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_RISKY = re.compile(f"'*{_STARTS}")
_GUARDED = re.compile(f"'+{_STARTS}")
_NUMBER = re.compile(r"-\d+([.,]\d+)?")  # runs nothing, and is often an id or a class


def guarded(cell: str) -> str:
    """The cell as a spreadsheet takes it for text. `unguarded` gives it back exactly, whatever it was."""
    return f"'{cell}" if _RISKY.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unguarded(cell: str) -> str:
    """The cell that `guarded` was given; others stay as they are."""
    return cell[1:] if _GUARDED.match(cell) else cell
