"""An audit on the terminal: the summary in words, two tables, what they do not say, and where to go next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from honed.app.console import out, printable, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from honed.pipeline.audit_files import Audited


def show_audit(audited: Audited, *, as_json: bool) -> int:
    """Print a finished audit; returns the exit code."""
    from honed.evidence.audit_words import CAVEATS, audit_rows, finder_rows
    from honed.evidence.report_format import percent

    if as_json:
        write_json({"folder": str(audited.path), "report": str(audited.page), **audited.figures})
        return 0
    console, figures = out(), audited.figures
    for sentence in figures["summary"]:
        console.print(_plain(sentence), markup=False, style="bold" if sentence == figures["summary"][-1] else "")
    console.print()
    console.print(_table(audit_rows(figures)))
    console.print(_table(finder_rows(figures)))
    console.print(_plain(f"Square brackets: {percent(figures['level'], 0)} intervals."), style="dim")
    for caveat in CAVEATS:
        console.print(f"- {_plain(caveat)}", markup=False, style="dim")
    console.print(f"\nFolder  {audited.path}", markup=False, soft_wrap=True)
    console.print(f"Report  {audited.page}", markup=False, soft_wrap=True)
    return 0


def _plain(text: str) -> str:
    """Without the narrow space before a percent sign, at which a terminal would break the line."""
    from honed.evidence.report_format import NARROW_SPACE

    return printable(text.replace(f"{NARROW_SPACE}%", "%"))


def _table(rows: Sequence[dict[str, str]]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(rows[0]):
        table.add_column(column, justify="left" if i == 0 or column == "taught" else "right")
    for row in rows:
        table.add_row(*(_plain(cell).replace(" [", "\n[") for cell in row.values()))
    return table
