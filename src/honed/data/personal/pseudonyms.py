"""Personal data replaced by pseudonyms: the same person's e-mail address is <EMAIL_1> wherever it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from honed.data.personal.columns import is_filled, kind_of_cells
from honed.data.personal.find import find_personal_batch
from honed.data.personal.folding import fold
from honed.data.personal.hit import KINDS, Finder, Hit

PSEUDONYM = re.compile(rf"<(?:{'|'.join(kind.mark for kind in KINDS.values())})_\d+>")
_NOT_A_FIGURE = re.compile(r"[^0-9a-z+]")


class Pseudonyms:
    """Replaces personal data in cells, one table after its own count.

    finder : what finds them.

    The n-th distinct value of a kind, in the order of the cells, becomes `<KIND_n>`. Two spellings of one number or
    address (blanks, dashes, case, digits of another script) are one value. The values themselves are never written.
    """

    def __init__(self, finder: Finder = find_personal_batch) -> None:
        self._finder = finder
        self._known: dict[tuple[str, str], str] = {}
        self._count: Counter[str] = Counter()
        self._kind: dict[str | None, str | None] = {None: None}  # of each column that was seen
        self.n_replaced: Counter[str] = Counter()
        """How many places of each kind were replaced."""

    @property
    def n_distinct(self) -> dict[str, int]:
        """How many different values of each kind there were."""
        return dict(self._count)

    def of(self, kind: str, value: str) -> str:
        """The pseudonym of a value."""
        key = (kind, _canonical(kind, value))
        if key not in self._known:
            self._count[kind] += 1
            self._known[key] = f"<{KINDS[kind].mark}_{self._count[kind]}>"
        return self._known[key]

    def replace(self, cells: Sequence[str], columns: Sequence[str | None]) -> list[str]:
        """The cells with every hit replaced; a cell of a column such as `patient_name` is replaced as a whole.

        columns : name of each cell's column, None where it has none. What a column just called `name` holds is
            decided by the first cells of it that come.

        Promises: a cell without a hit comes back unchanged; nothing is found in what comes back, since what a
        replacement uncovers is sought again.
        """
        result = list(cells)
        for name in sorted({name for name in columns if name is not None} - self._kind.keys()):
            own = [cell for cell, column in zip(cells, columns, strict=True) if column == name]
            self._kind[name] = kind_of_cells(name, own, self._finder)
        whole = {i: kind for i, cell in enumerate(result) if (kind := self._kind[columns[i]]) and is_filled(cell)}
        pending = [i for i in range(len(result)) if i not in whole]
        found = {i: [Hit(kind, 0, len(result[i]), 1.0)] for i, kind in whole.items()}
        while pending or found:
            for position, hit in self._finder([result[i] for i in pending]):
                found.setdefault(pending[position], []).append(hit)
            pending = [i for i in sorted(found) if self._replace_hits(result, i, found[i]) and i not in whole]
            found = {}
        return result

    def _replace_hits(self, cells: list[str], i: int, hits: Sequence[Hit]) -> bool:
        """Replace what was found in cell i, but for pseudonyms; returns whether there was anything else."""
        text, pieces, position = cells[i], [], 0
        taken = [match.span() for match in PSEUDONYM.finditer(text)]
        for hit in hits:
            if all(hit.end <= start or hit.start >= end for start, end in taken):
                pieces += [text[position : hit.start], self.of(hit.kind, text[hit.start : hit.end])]
                position = hit.end
                self.n_replaced[hit.kind] += 1
        cells[i] = "".join((*pieces, text[position:]))
        return bool(pieces)


def _canonical(kind: str, value: str) -> str:
    """One spelling for all spellings of a value."""
    text = " ".join(fold(value).text.lower().split())
    if kind in ("email", "ip", "profile"):
        return text
    if kind in ("name", "address"):
        return " ".join(re.findall(r"\w+", text))
    if kind == "phone" and text.startswith(("+", "00", "(+")):
        return "+" + re.sub(r"\(0\)|\D", "", text).removeprefix("00")
    return _NOT_A_FIGURE.sub("", text)
