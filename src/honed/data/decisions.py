"""What a person decided about labels: keep, relabel or drop, row by row, in the file that `honed labels` writes.

A spreadsheet may have saved it since: with semicolons, a byte order mark, other line ends.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from honed.data.cells import column_text
from honed.data.dataset import Dataset
from honed.data.readers import read_table
from honed.data.spreadsheet_cells import unguarded
from honed.data.targets import Targets
from honed.errors import DataError

DECISIONS = ("keep", "relabel", "drop")
_COLUMNS = ("example_id", "decision")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?(E[+-]?\d+)?")


@dataclass(frozen=True)
class Decision:
    """label : the index of the class to teach; that of the data unless `what` is relabel."""

    what: Literal["keep", "relabel", "drop"]
    label: int


Decisions = Mapping[str, Decision]
"""By example id."""


def read_decisions(source: str, dataset: Dataset) -> Decisions:
    """The decisions of a file about the rows of `dataset`; rows with an empty decision are undecided.

    A relabelled row takes the class of the column `new_label`, or, where that is empty, of `suggested`.

    Raises DataError, naming the rows, for a missing column, an unknown decision, class or example, a row decided
    twice, or a relabelled row without a class.
    """
    table = read_table(source)
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(
            f"{source} has no column {' and no column '.join(map(repr, missing))}.",
            cause=f"Its columns are {', '.join(table.column_names)}.",
            remedy="Write it with `honed labels RUN --output FILE`, and fill in the column decision.",
        )
    plain = str if source.lower().endswith(".parquet") else unguarded
    cells = {
        name: [plain((cell or "").strip()) for cell in column_text(table, name, "--decisions")]
        if name in table.column_names
        else [""] * table.num_rows
        for name in (*_COLUMNS, "new_label", "suggested")
    }
    index = {name: j for j, name in enumerate(dataset.label_names)}
    given = dict(zip(dataset.example_id.tolist(), dataset.label.tolist(), strict=True))
    found: dict[str, Decision] = {}
    faults: list[str] = []
    for i, (example, what) in enumerate(zip(cells["example_id"], map(str.casefold, cells["decision"]), strict=True)):
        if not what:
            continue
        name = cells["new_label"][i] or cells["suggested"][i]
        fault = ""
        if what not in DECISIONS:
            fault = f"the decision {cells['decision'][i]!r} is none of {', '.join(DECISIONS)}"
        elif example not in given:
            fault = f"there is no example {example!r} in the data"
            fault += "; did a spreadsheet make a number of its id?" if _NUMBER.fullmatch(example) else ""
        elif example in found:
            fault = f"example {example!r} was decided before"
        elif what == "relabel" and name not in index:
            near = difflib.get_close_matches(name, index, n=1)
            fault = f"{name!r} is no class" if name else "no class is named in new_label or suggested"
            fault += f"; did you mean {near[0]!r}?" if near else ""
        if fault:
            faults.append(f"row {i + 1}: {fault}")
        elif what != "relabel":
            found[example] = Decision(what, given[example])  # type: ignore[arg-type]
        else:
            found[example] = Decision("relabel", index[name])
    if faults:
        more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise DataError(
            f"{source} holds {len(faults)} decision{'s' * (len(faults) > 1)} that cannot be followed: "
            + "; ".join(faults[:5]) + more + ".",
            cause="Nothing was trained: a decision that is passed over in silence would be worse than none.",
            remedy="Mend or empty these cells; `honed labels RUN --output FILE` writes the rows of that run's data.",
        )  # fmt: skip
    return found


def decided(targets: Targets, decisions: Decisions, example_id: np.ndarray[tuple[int], np.dtype[np.str_]]) -> Targets:
    """`targets` of the n examples with what a person decided; that wins over any other cleaning."""
    label, weight = targets.label.copy(), targets.weight.copy()
    for i, example in enumerate(example_id.tolist()):
        decision = decisions.get(example)
        if decision is not None:
            label[i], weight[i] = decision.label, 0.0 if decision.what == "drop" else 1.0
    return replace(targets, label=label, weight=weight)
