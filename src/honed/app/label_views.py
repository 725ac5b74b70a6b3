"""Judged labels on the terminal: one table, the worst first, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from honed.app.console import out, printable

if TYPE_CHECKING:
    from rich.table import Table

    from honed.pipeline.label_file import JudgedLabels

_EXCERPT = 200
Kind = Literal["Text", "Image", "Id"]


def show_labels(labels: JudgedLabels, rows: Sequence[dict[str, Any]], output: Path | None, n_written: int) -> None:
    """Print the rows, worst first; `output` is the file that holds `n_written` of them, or None."""
    from honed.evidence.label_table import caution

    console = out()
    if rows:
        kind: Kind = "Id" if labels.texts is None else "Image" if labels.is_image else "Text"
        console.print(labels_table(rows, kind))
    judges = f" Judged by: {', '.join(labels.judges)}." if labels.judges else ""
    console.print(printable(f"{count_words(labels)}{judges}"), markup=False, style="bold")
    if told := caution(labels.table.agreement):
        console.print(printable(told), markup=False)
    if labels.texts is None:
        console.print("Texts not shown, because this run kept none; the ids name the rows.", style="dim")
    elif labels.is_image:
        console.print(f"The pictures of the worst: {labels.run.report}", markup=False, soft_wrap=True, style="dim")
    console.print("The locked holdout is not judged. Rows are counted from 1; a header is not counted.", style="dim")
    console.print()
    if output is not None:
        console.print(f"{n_written} labels in {output}, the worst first.", markup=False, soft_wrap=True)
        console.print("Fill in its column decision: keep, relabel or drop (relabel takes new_label, or suggested).")
    for command in next_commands(labels, output):
        console.print(f"Next    {command}", markup=False, soft_wrap=True, style="bold")


def labels_json(
    labels: JudgedLabels, rows: Sequence[dict[str, Any]], output: Path | None, n_written: int
) -> dict[str, Any]:
    """The same for machines."""
    return {
        "run": str(labels.run.path),
        "n_judged": len(labels.table),
        "n_flagged": labels.n_flagged,
        "judges": list(labels.judges),
        "rows": list(rows),
        "output": None if output is None else str(output),
        "n_written": n_written,
        "next": next_commands(labels, output),
    }


def count_words(labels: JudgedLabels) -> str:
    """'3 of 306 labels look wrong.'"""
    return f"{labels.n_flagged or 'None'} of {len(labels.table)} labels look{'s' * (labels.n_flagged == 1)} wrong."


def next_commands(labels: JudgedLabels, output: Path | None) -> list[str]:
    """What to run now."""
    run = quote(str(labels.run.path))
    if output is None:
        return [f"honed labels {run} --output labels.csv"]
    return [f"honed fit --config {quote(str(labels.run.config))} --decisions {quote(str(output))}"]


def labels_table(rows: Sequence[dict[str, Any]], kind: Kind) -> Table:
    """The rows of `evidence.label_table.label_rows`, in their order. Nothing in them can steer the terminal.

    kind : what the rows are known by: their texts, the names of their images, or their ids alone.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from honed.evidence.report_format import excerpt

    def short(cell: str) -> str:
        return printable(excerpt(" ".join(cell.split()), _EXCERPT))

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, leading=1)
    table.add_column("Row", justify="right", no_wrap=True)
    table.add_column("Quality", justify="right", no_wrap=True)
    table.add_column("Given\nSuggested", ratio=2, overflow="fold")
    table.add_column(f"{kind}\nWhy", ratio=5, overflow="fold")
    for row in rows:
        told = Text(short(row["example_id"] if kind == "Id" else row["text"] or "(no text)"))
        table.add_row(
            str(row["row"]),
            f"{row['quality']:.3f}" + ("\nflagged" if row["is_flagged"] else ""),
            Text(f"{short(row['given'])}\n{short(row['suggested'])}"),
            told.append(f"\n{printable(row['why'])}", style="dim"),
        )
    return table
