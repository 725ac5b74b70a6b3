"""Commands about labels: what of them looks wrong in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from honed.app.console import write_json
from honed.app.typer_app import Json, RunArgument, app


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
