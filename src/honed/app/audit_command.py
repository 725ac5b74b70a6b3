"""`honed audit`: what label noise would cost, how much of it is found, and what cleaning wins back."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from honed.app.config_flags import all_flags, resolve_config, with_config_flags
from honed.app.console import out, printable, write_json
from honed.app.typer_app import Json, Recipe, app
from honed.errors import UsageError

if TYPE_CHECKING:
    from honed.pipeline.audit_files import AuditFolder

_NOT_ITS_FLAGS = (
    "out", "clean", "decisions", "gate", "require", "metric", "trials", "n_trials", "keep_texts", "test_file",
)  # fmt: skip


def audit(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    given: dict[str, Any],
    data: Annotated[
        str | None,
        typer.Argument(help="CSV, JSONL or Parquet file, or the name of a `datasets` dataset", show_default=False),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option("--inject", metavar="X", help="share of labels to spoil; repeat for more (default: 0.03, 0.1)"),
    ] = None,
    noise: Annotated[
        str,
        typer.Option("--noise", metavar="uniform|confusion", help="to any other class, or to one that is like it"),
    ] = "confusion",
    draws: Annotated[int, typer.Option("--draws", metavar="N", help="different noise for each rate")] = 1,
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="rows to use at most, in whole groups")] = 3000,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            "--mode", metavar="drop|weight|relabel", help="cleaning to try; repeat for more (default: drop, weight)"
        ),
    ] = None,
    out_folder: Annotated[
        str | None, typer.Option("--out", help="a new folder (default: audits/NAME-N)", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of these settings; flags win over it", show_default=False)
    ] = None,
    recipe: Recipe = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FOLDER", help="continue an interrupted audit", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """What wrong labels would cost on your data: spoil some on purpose, see how many are found, and clean.

    The rows that score keep their labels, and the holdout stays shut. Writes audit.json, audit.parquet, audit.html.
    """
    from honed.app.progress import watching

    flags = (data, inject, mode, out_folder, config, recipe, (noise, draws, rows) != ("confusion", 1, 3000))
    if resume is not None and (given or any(flags)):
        raise UsageError("--resume goes on exactly as the audit was begun.", remedy="Give --resume alone.")
    named = {name: value for name, value in (("data", data), ("out", out_folder)) if value}
    values = resolve_config(given | named, config, recipe)
    if resume is None and not values.data:
        raise UsageError("No data were named.", remedy="`honed audit FILE`.")
    with watching(quiet=json, command="audit") as watcher:
        from honed.pipeline import audit_files
        from honed.pipeline.audit import audit_options

        if resume is not None:
            audited = audit_files.resume(resume, [watcher])
        else:
            options = audit_options(inject, noise, draws, mode, rows)
            audited = audit_files.audit_to_folder(values, options, [watcher])
    _show(audited, data=audited.figures["source"], as_json=json)
    return 0


app.command("audit")(with_config_flags(audit, tuple(name for name in all_flags() if name not in _NOT_ITS_FLAGS)))


def _show(audited: AuditFolder, *, data: str, as_json: bool) -> None:
    from honed.evidence.audit_words import audit_rows, finder_rows, not_said, summary

    following = f"honed fit {quote(data)}"  # which judges the labels as they are
    told = {"summary": summary(audited.figures), "not_said": not_said(audited.figures)}
    if as_json:
        places = {"folder": str(audited.path), "report": str(audited.report)}
        write_json({**places, **told, **audited.figures, "next": [following]})
        return
    from rich import box
    from rich.table import Table

    console = out()
    for sentence in told["summary"]:
        console.print(_plain(sentence), markup=False, style="bold" if sentence == told["summary"][-1] else "")
    console.print()
    for rows in (audit_rows(audited.figures), finder_rows(audited.figures)):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in rows[0]:
            table.add_column(column, justify="left" if column in ("noise", "arm") else "right")
        for row in rows:
            table.add_row(*(_plain(cell).replace(" [", "\n[") for cell in row.values()))
        console.print(table)
    for note in told["not_said"]:
        console.print(f"- {_plain(note)}", markup=False, style="dim")
    console.print(f"\nFolder  {audited.path}", markup=False, soft_wrap=True)
    console.print(f"Report  {audited.report}", markup=False, soft_wrap=True)
    console.print(f"Next    {following}", markup=False, soft_wrap=True, style="bold")


def _plain(text: str) -> str:
    """Without the narrow space before a percent sign, at which a terminal would break the line."""
    from honed.evidence.report_format import NARROW_SPACE

    return printable(text.replace(f"{NARROW_SPACE}%", "%"))
