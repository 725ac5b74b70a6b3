"""The outcome of an export on the terminal: what was compared with what was measured, check by check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from honed.app.console import out, printable, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from honed.pipeline.export import ExportResult

_STYLE = {"same": "green", "different": "bold red", "PASS": "green", "FAIL": "bold red"}
_OPEN = "yellow"


def show_export(result: ExportResult, *, as_json: bool) -> int:
    """Print a proven export; returns the exit code."""
    if as_json:
        write_json({"folder": str(result.folder), **result.parity, "exit_code": 0})
        return 0
    show_parity(result.parity)
    out().print(f"Export  {result.folder}", markup=False, soft_wrap=True)
    return 0


def show_parity(facts: Mapping[str, Any]) -> None:
    """Print what parity.json says; for an export that failed, the error says the rest."""
    console = out()
    where = "the opened holdout" if facts["rows"] == "holdout" else "development rows (the holdout is still shut)"
    drawn = "" if facts["n_rows"] == facts["n_available"] else f", drawn from {facts['n_available']}"
    console.print(f"Compared on {facts['n_rows']} rows of {where}{drawn}.", markup=False)
    _show(console, f"--to {facts['to']}", facts)
    if facts["int8"] is not None:
        _show(console, "int8", facts["int8"])


def _show(console: Console, name: str, facts: Mapping[str, Any]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text(f"{name}, read back by {facts['read_back_by']}: ")
    title.append(facts["verdict"], style=_STYLE.get(facts["verdict"], _OPEN))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if facts["unreadable"]:
        table.add_row("load", Text("different", style=_STYLE["different"]), Text(printable(facts["unreadable"])))
    for check in facts["parity"]["checks"] if facts["parity"] else []:
        outcome = Text(check["outcome"], style=_STYLE.get(check["outcome"], _OPEN))
        table.add_row(check["check"].replace("_", " "), outcome, Text(printable(check["sentence"])))
    if facts["first_difference"]:
        table.add_row("layer", Text("different", style=_STYLE["different"]), Text(facts["first_difference"]))
    console.print(table)
