"""A comparison on the terminal: the recommendation, one table, the notes, and where to go next."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING

from honed.app.console import out, printable, write_json
from honed.errors import GateFailed

if TYPE_CHECKING:
    from honed.pipeline.compare import Compared


def show_comparison(compared: Compared, *, as_json: bool) -> int:
    """Print a finished comparison; returns the exit code (4 if the gate of the recommended artifact failed)."""
    code = GateFailed.exit_code if compared.verdict and compared.verdict["verdict"] == "FAIL" else 0
    run = quote(str(compared.run.path))
    following = [f"honed predict {run} NEW.csv --output predictions.csv" if compared.verdict else f"honed gate {run}"]
    if as_json:
        written = json.loads((compared.path / "comparison.json").read_text(encoding="utf-8"))
        places = {"folder": str(compared.path), "report": str(compared.page), "run": str(compared.run.path)}
        write_json({**places, **written, "next": following, "exit_code": code})
        return code
    from rich import box
    from rich.table import Table

    from honed.evidence.comparison_report import comparison_rows

    console = out()
    rows = comparison_rows(compared.comparison)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(rows[0]):
        table.add_column(printable(column), justify="left" if i == 0 else "right")
    for row in rows:
        name = next(iter(row.values()))
        is_recommended = name.split()[0] == compared.comparison.recommended
        table.add_row(*map(printable, row.values()), style="bold" if is_recommended else "")
    console.print(table)
    console.print(printable(compared.comparison.recommendation), markup=False, style="bold")
    for note in compared.comparison.notes:
        console.print(f"- {printable(note)}", markup=False, style="dim")
    if compared.verdict:
        console.print(f"\nHoldout of {compared.run.path.name}: {compared.verdict['verdict']}", markup=False)
        for reason in compared.verdict["reasons"]:
            console.print(f"- {printable(reason)}", markup=False)
    console.print(f"\nFolder  {compared.path}", markup=False, soft_wrap=True)
    console.print(f"Report  {compared.page}", markup=False, soft_wrap=True)
    for command in following:
        console.print(f"Next    {command}", markup=False, soft_wrap=True, style="bold")
    return code
