"""`honed labels`: the judged labels of a finished run, read back, and written for a person to decide on.

The file is made to survive a spreadsheet. In CSV, cells that would run as a formula are guarded (see
`data.spreadsheet_cells`), control characters of texts are shown instead of obeyed, texts end before the largest cell
of a spreadsheet does, and a byte order mark stands in front wherever a spreadsheet would else garble what is not ASCII.
None of that reaches a decision: it is found again by `example_id`, and `read_decisions` takes the guards off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from honed.config import read_config
from honed.data.spreadsheet_cells import guarded
from honed.errors import RunFolderError
from honed.evidence.label_table import LabelTable, label_rows
from honed.evidence.report_format import excerpt, visible
from honed.evidence.run_facts import read_texts
from honed.pipeline import reopen
from honed.pipeline.output_file import csv_bytes, write_output
from honed.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_CELL = 32_000
"""Characters: a spreadsheet spills a longer cell into the next row (Excel's limit is 32,767)."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class JudgedLabels:
    """table : the worst label first.    texts : by example id, None if the run kept none.    judges : who judged.

    is_image : whether the "texts" are names of image files.
    """

    run: RunFolder
    table: LabelTable
    texts: Mapping[str, str] | None
    judges: tuple[str, ...]
    is_image: bool = False

    @property
    def n_flagged(self) -> int:
        """How many labels look wrong."""
        return int(self.table.is_flagged.sum())

    def rows(self, n: int | None = None, *, only_flagged: bool = False) -> list[dict[str, Any]]:
        """The n worst rows, or all; see `evidence.label_table.label_rows`."""
        table = self.table.take(self.table.is_flagged) if only_flagged else self.table
        return label_rows(table.take(np.arange(len(table))[:n]), self.texts)


def read_labels(path: str | Path) -> JudgedLabels:
    """The judged labels of a finished run.

    Raises RunFolderError if there is no such run, if it is not finished, or if it judged no labels.
    """
    run = reopen.finished(path)
    config = read_config(run.config)
    if config.get("task") == "instruction":
        raise RunFolderError(
            f"{run.path} learned from conversations: they have no labels that could be judged.",
            remedy="`honed check` examines conversations before a fit.",
        )
    if not run.labels.exists():
        is_off = config.get("clean") == "off"
        raise RunFolderError(
            f"{run.path} has no judged labels: labels.parquet is not there.",
            cause="The run was made with --clean off." if is_off else "Either it was removed, or the run is older.",
            remedy=f"Run it again: `honed fit --config {run.config} --clean review`.",
        )
    judges = (run.read_json(run.metrics).get("labels") or {}).get("judges", ())
    is_image = config.get("task") == "image_classification"
    return JudgedLabels(run, LabelTable.read(run.labels), read_texts(run.path), tuple(map(str, judges)), is_image)


def write_decision_file(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV or Parquet, by the suffix; `decision` and `new_label`, where a row lacks them, are left empty.

    Raises OutputError if the file cannot be written.
    """
    write_output(path, _table(rows) if path.suffix.lower() != ".csv" else decision_csv(rows))


def decision_csv(rows: list[dict[str, Any]]) -> bytes:
    """The same as CSV that survives a spreadsheet."""
    data = csv_bytes(_table([_for_spreadsheet(row) for row in rows]))
    return data if data.isascii() else _BYTE_ORDER_MARK + data


def _for_spreadsheet(row: dict[str, Any]) -> dict[str, Any]:
    shown = {"text": visible(excerpt(row["text"] or "", LARGEST_CELL))[:LARGEST_CELL], "why": visible(row["why"])}
    cells = row | shown
    return {name: guarded(v.replace("\0", "\ufffd")) if isinstance(v, str) else v for name, v in cells.items()}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    texts, counts = ("text", "given", "suggested"), ("n_neighbours", "n_agree")
    types = {
        "example_id": pa.string(), "row": pa.int64(), **dict.fromkeys(texts, pa.string()), "quality": pa.float64(),
        "is_flagged": pa.bool_(), **dict.fromkeys(counts, pa.int64()), "why": pa.string(),
        "decision": pa.string(), "new_label": pa.string(),
    }  # fmt: skip
    blank = {"decision": "", "new_label": ""}
    return pa.table({name: pa.array([(blank | row)[name] for row in rows], kind) for name, kind in types.items()})
