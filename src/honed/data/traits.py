"""Traits: what is known of a row besides what it means, such as another column, a file name, the length of its text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

_MOSTLY = 0.95  # of the filled cells: then a column is one of numbers or dates, and the few others count as missing
_FEWEST_BLANK = 0.01
_NUMBER = re.compile(r"\s*[+-]?(?:\d+[.]?\d*|[.]\d+)(?:[eE][+-]?\d+)?\s*")
_DIGITS = re.compile(r"\d{1,15}", re.ASCII)
_DATE = re.compile(r"\s*(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[T ]+(\d{1,2}):\d{2}\S*)?\s*")


Role = Literal["column", "joined", "surface", "measured", "order"]


@dataclass(frozen=True)
class Trait:
    """One trait of n rows.

    name : as findings call it: "column 'site'", "text length", "image size".
    values : (n,) objects of type str, "" where one is missing; or (n,) or (n, d) floats, NaN where one is missing.
    source : what it was made of; of several traits with one source only the most telling is reported.
    role : a `column` that no model reads, one that the template has `joined` to the text, the `surface` of the text,
        what was `measured` on the input, the `order` of the rows.
    """

    name: str
    values: npt.NDArray[Any]
    source: str
    role: Role

    @property
    def is_text(self) -> bool:
        """Whether the values are strings."""
        return bool(self.values.dtype.kind == "O")


def column_traits(name: str, cells: Sequence[str], *, role: Role = "column") -> list[Trait]:
    """The traits of one column: its values, whether a cell is empty, the number inside a name.

    cells : n strings, blank where one is missing. A column of numbers or dates becomes floats; dates are seen as
        a running day, month, day of the week and hour.
    """
    title = f"column {name!r}"
    cells = [cell.strip() for cell in cells]
    blank = np.array([not cell for cell in cells])
    filled = [cell for cell in cells if cell]
    traits = []
    if _FEWEST_BLANK <= blank.mean() <= 1 - _FEWEST_BLANK:
        traits.append(Trait(f"whether {title} is empty", blank.astype(np.float64), title, role))
    if len(set(filled)) < 2:
        return traits
    values = _parse(cells, filled, _number, 1)
    if values is None:
        values = _parse(cells, filled, _date, 4)
    if values is None:
        traits.append(Trait(title, np.array(cells, dtype=np.object_), title, role))
        title = f"the number in {title}"
        values = _parse(cells, filled, _last_number, 1)
    if values is not None:
        traits.append(Trait(title, values, traits[-1].source if traits else title, role))
    return traits


def measured_trait(name: str, values: npt.NDArray[Any]) -> Trait:
    """A trait that was measured, such as the size of an image: (n,) or (n, d) floats, NaN where it is missing."""
    return Trait(name, np.asarray(values, dtype=np.float64), name, "measured")


_Parser = Callable[[str], Sequence[float] | None]


def _parse(cells: Sequence[str], filled: Sequence[str], parser: _Parser, width: int) -> npt.NDArray[np.float64] | None:
    """(n, width) floats, or None if too few of the filled cells can be read, or all are read as the same."""
    counts = Counter(filled)
    read = {cell: parser(cell) for cell in counts}
    if sum(counts[cell] for cell, value in read.items() if value is not None) < _MOSTLY * len(filled):
        return None
    missing = [np.nan] * width
    values = np.array([read.get(cell) or missing for cell in cells], dtype=np.float64).reshape(-1, width)
    known = values[~np.isnan(values[:, 0])]
    return values if len(known) and (known != known[0]).any() else None


def _number(cell: str) -> list[float] | None:
    return [float(cell)] if _NUMBER.fullmatch(cell) else None


def _last_number(cell: str) -> list[float] | None:
    found = _DIGITS.findall(cell)
    return [float(found[-1])] if found else None


def _date(cell: str) -> list[float] | None:
    found = _DATE.fullmatch(cell)
    if not found:
        return None
    first, middle, last = int(found[1]), int(found[3]), int(found[4])
    # year first; else day first, or month first where only that is a date
    orders = [(first, middle, last)] if first > 31 else [(last, middle, first), (last, first, middle)]
    for year, month, day in orders:
        try:
            date = datetime(year + 2000 if year < 100 else year, month, day)  # noqa: DTZ001 - a day, not a moment
        except ValueError:
            continue
        return [float(date.toordinal()), float(month), float(date.weekday()), float(found[5] or 0)]
    return None
