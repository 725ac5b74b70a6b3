"""`honed attention`: where a specialist looks, and where its base looked."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from honed.app.console import out, printable, write_json
from honed.app.typer_app import Json, RunArgument, app

if TYPE_CHECKING:
    from rich.table import Table

    from honed.pipeline.attention_files import AttentionFolder


@app.command("attention")
def attention(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    run: RunArgument,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="new inputs to look at: an image, a folder of images, or a table (default: the run's own rows)",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="look at so many rows, at most")] = 100,
    map_name: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="relevance|rollout|last",
            help="what is drawn: relevance (attention weighted by the gradient of the answer), rollout (attention "
            "followed through all layers), last (of the last layer)",
        ),
    ] = "relevance",
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="COLUMN",
            help="column of mask files in the run's data; their values are regions (default: a column called mask; "
            "'' does without)",
            show_default=False,
        ),
    ] = None,
    regions: Annotated[
        str,
        typer.Option(
            "--regions",
            metavar="values|chest",
            help="values: each value of the masks is a region; chest: lung fields, their borders, costophrenic angles, "
            "heart contour, mediastinum, outside the body, made of masks of lungs and heart",
        ),
    ] = "values",
    out_folder: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="a new folder (default: RUN/attention; for new inputs attention/NAME-N)",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto")] = "auto",
    json: Json = False,
) -> int:
    """Where a specialist looks, and where its base looked, on the same rows, and whether to believe it.

    honed attention runs/cxr --regions chest      rows of the run, never locked ones
    honed attention runs/cxr new.png              overlays of new inputs

    Images: how much of the attention lies in each region of your masks, before
    and after training, with a paired test. Texts: on which tokens it lies.

    Before a map is shown it is checked. The answer must fall when what the map
    calls important is taken away, and the map must become another one when all
    weights are drawn at random. Attention where no finding can be (outside the
    body, on the border) that goes with being right is told as a warning.

    Writes attention.parquet (every row, model, map and region), attention.html,
    attention.json, and overlays/ (base, specialist, difference). What the maps
    cannot say stands in docs/attention.md.
    """
    from honed.app.progress import watching
    from honed.pipeline.attention_options import attention_options

    options = attention_options(rows, map_name, mask, regions, device)
    with watching(quiet=json, command="attention") as watcher:
        from honed.pipeline import attention as pipeline

        if source is None:
            found = pipeline.attention(run, options, out_folder, [watcher])
        else:
            found = pipeline.attention_of_inputs(run, source, options, out_folder, [watcher])
    _show(found, run, is_own=source is None, as_json=json)
    return 0


def _show(found: AttentionFolder, run: Path, *, is_own: bool, as_json: bool) -> None:
    figures = found.figures
    following = [] if is_own else [f"honed attention {quote(str(run))}"]
    if as_json:
        places = {"folder": str(found.path), "page": str(found.page), "table": str(found.table)}
        write_json({**places, **figures, "next": following})
        return
    console = out()
    for verdict in figures["faithfulness"][:1]:
        console.print(printable(verdict["sentence"]), markup=False, style="bold")
    if figures["warning"]:
        console.print(f"\n{printable(figures['warning'])}", markup=False, style="bold yellow")
    overall = (figures["tables"].get(figures["map"]) or {}).get("overall")
    if overall and not figures["is_withheld"]:
        console.print(_table(overall, str(figures["map"])))
    for note in (*figures["notes"], *figures["not_run"].values()):
        console.print(f"- {printable(note)}", markup=False, style="dim")
    if figures["mask_faults"]:
        console.print(f"- {len(figures['mask_faults'])} rows have no usable mask: see attention.json", style="dim")
    console.print(f"\nFolder  {found.path}", markup=False, soft_wrap=True)
    console.print(f"Page    {found.page}", markup=False, soft_wrap=True)
    for command in following:
        console.print(f"Next    {command}", markup=False, soft_wrap=True, style="bold")


def _table(regions: list[dict[str, Any]], drawn: str) -> Table:
    """Attention over area in each region: base, specialist, and the change."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"Share of {drawn} over share of area\n(1: no preference)")
    for name in ("base", "specialist", "change", "p (Holm)"):
        table.add_column(name, justify="right")
    for row in regions:
        density = row["density"]
        cells = [_cell(density.get(name), signed=name == "difference") for name in ("base", "specialist", "difference")]
        p_value = row["corrected_p"]
        table.add_row(
            printable(row["region"]), *cells,
            "" if p_value is None else "< .001" if p_value < 0.001 else f"{p_value:.3f}",
        )  # fmt: skip
    return table


def _cell(estimate: dict[str, Any] | None, *, signed: bool) -> str:
    if estimate is None:
        return "not run"
    sign = "+" if signed else ""
    return f"{estimate['value']:{sign}.2f}\n[{estimate['low']:{sign}.2f}, {estimate['high']:{sign}.2f}]"
