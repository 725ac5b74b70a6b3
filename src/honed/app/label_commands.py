"""Commands about labels: which look wrong in a run, and what wrong ones would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from honed.app.config_flags import all_flags, resolve_config, with_config_flags
from honed.app.console import write_json
from honed.app.typer_app import Json, RunArgument, app

_NOT_OF_AN_AUDIT = (
    "out", "clean", "decisions", "gate", "require", "metric", "keep_texts", "test_file", "trials", "n_trials",
)  # fmt: skip
AUDIT_FLAGS = tuple(name for name in all_flags() if name not in _NOT_OF_AN_AUDIT)
"""The flags of `honed fit` that `honed audit` has too."""


@app.command("labels")
def labels(
    run: RunArgument,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="show so many rows, the worst")] = 20,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="write all rows as .csv or .parquet, with a column decision for you to fill in: keep, relabel or drop",
            show_default=False,
        ),
    ] = None,
    flagged: Annotated[bool, typer.Option("--flagged", help="only the rows that are flagged as errors")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing output")] = False,
    json: Json = False,
) -> int:
    """Which labels of a run look wrong, worst first, and why. They were judged by models that never saw the row.

    Columns of the file: example_id, row (its number in your file, from 1, a header not counted), text, given,
    suggested, quality (0 to 1, low is bad), is_flagged, n_neighbours, n_agree (how many of these have the given
    label), why, decision, new_label. Fill in `decision`, and `honed fit --decisions FILE` teaches what you decided.
    """
    from honed.app.label_views import labels_json, show_labels
    from honed.pipeline.label_file import read_labels, write_decision_file
    from honed.pipeline.output_file import check_output

    if output is not None:
        check_output(output, force=force)
    judged = read_labels(run)
    rows = judged.rows(top, only_flagged=flagged)
    n_written = 0
    if output is not None:
        everything = judged.rows(only_flagged=flagged)
        write_decision_file(output, everything)
        n_written = len(everything)
    if json:
        write_json(labels_json(judged, rows, output, n_written))
    else:
        show_labels(judged, rows, output, n_written)
    return 0


def audit(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    given: dict[str, Any],
    data: Annotated[
        str | None,
        typer.Argument(help="CSV, JSONL or Parquet file, or the name of a `datasets` dataset", show_default=False),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option("--inject", metavar="X", help="share of labels to spoil; repeat for more (default: 0.03 and 0.1)"),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            "--noise",
            metavar="uniform|confusion",
            help="any other class, or one that a simple model confuses with the right one (default: confusion)",
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option("--draws", metavar="N", help="different noise for each rate (default: 1)")
    ] = None,
    rows: Annotated[
        int | None, typer.Option("--rows", metavar="N", help="use so many rows, whole groups (default: 3000)")
    ] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            "--mode",
            metavar="drop|weight|relabel",
            help="a way of cleaning to try; repeat for more (default: drop and weight)",
        ),
    ] = None,
    out_folder: Annotated[
        str | None, typer.Option("--out", help="a new folder (default: audits/NAME-N)", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of these settings; flags win over it", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """What wrong labels would cost on your data, how many of them are found, and what cleaning wins back.

    Labels of the training sides are spoilt on purpose and scored rows keep theirs; the locked holdout stays shut.
    """
    from honed.app.audit_view import show_audit
    from honed.app.progress import watching

    settings = resolve_config(given | ({"data": data} if data else {}), config)
    with watching(quiet=json, command="audit") as watcher:
        from honed.pipeline.audit import audit_options
        from honed.pipeline.audit_files import audit_into_folder

        options = audit_options(rates=inject, kind=noise, n_draws=draws, modes=mode, max_rows=rows)
        audited = audit_into_folder(settings, options, out_folder, [watcher])
    return show_audit(audited, as_json=json)


app.command("audit")(with_config_flags(audit, AUDIT_FLAGS))
