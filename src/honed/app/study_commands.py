"""Commands that weigh before they choose: compare, plan, recipes; and export, which proves what it wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from honed.app.config_flags import all_flags, resolve_config, settings, with_config_flags
from honed.app.console import out, write_json
from honed.app.typer_app import Json, Recipe, RunArgument, app
from honed.errors import ParityError, UsageError

Data = Annotated[
    str | None,
    typer.Argument(help="CSV, JSONL or Parquet file, or the name of a `datasets` dataset", show_default=False),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML file of these settings; flags win over it", show_default=False)
]
_CANDIDATES_OWN = ("method", "method_options")


def compare(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    given: dict[str, Any],
    data: Data = None,
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="A,B,...", help="methods to compare (default: full,lora,bottleneck,prefix)"),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", metavar="NAME", help="a recipe as a further candidate; repeat for more"),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            "--max-loss", metavar="X", help="a cheaper method may lose so much to the best (default: 0.05)", min=0
        ),
    ] = None,
    config: ConfigFile = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="FOLDER", help="continue an interrupted comparison", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Run methods and small baselines on ONE fold plan; recommend the cheapest method within noise of the best.

    The holdout is opened once, for the recommended artifact alone; --no-gate leaves it shut.
    """
    from honed.app.comparison import show_comparison
    from honed.app.progress import watching

    if resume is not None and (given or data or config or methods or recipe or max_loss is not None):
        raise UsageError("--resume goes on exactly as the comparison was begun.", remedy="Give --resume alone.")
    values = settings(given | ({"data": data} if data else {}), config)
    if resume is None and not values.get("data"):
        raise UsageError("No data were named.", remedy="`honed compare FILE`.")
    with watching(quiet=json, command="compare") as watcher:
        from honed.evidence.selection import MAX_LOSS
        from honed.pipeline import compare as comparing
        from honed.recipes.library import read_recipe

        if resume is not None:
            compared = comparing.resume(resume, [watcher])
        else:
            names = methods.split(",") if methods else ([] if recipe else comparing.DEFAULT_METHODS)
            recipes = {Path(name).stem: read_recipe(name) for name in recipe or ()}
            named = comparing.candidates([name.strip() for name in names], recipes)
            margin = MAX_LOSS if max_loss is None else max_loss
            compared = comparing.compare(values, named, [watcher], max_loss=margin)
    return show_comparison(compared, as_json=json)


app.command("compare")(with_config_flags(compare, tuple(name for name in all_flags() if name not in _CANDIDATES_OWN)))


def plan(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    given: dict[str, Any],
    data: Data = None,
    machines: Annotated[
        str | None,
        typer.Option("--machine", metavar="A,B,...", help="this (the default), GPUs by name, or all"),
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="rows to assume without DATA")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="tokens a row to assume without DATA")] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=2, help="classes to assume without DATA")] = None,
    config: ConfigFile = None,
    recipe: Recipe = None,
    json: Json = False,
) -> int:
    """What a run will need, before it begins: parameters, memory, time and disk, here and on named GPUs.

    No weights are needed: --base also takes a config.json, `100b` or `1t`. Where it does not fit, it says what would.
    """
    from honed.app.plan_view import plan_json, show_plan
    from honed.pipeline.plan import AssumedData
    from honed.pipeline.plan import plan as make_plan
    from honed.planning.machines import GPUS, THIS

    values = resolve_config(given | ({"data": data} if data else {}), config, recipe)
    named = (THIS, *GPUS) if machines == "all" else tuple(name.strip() for name in (machines or THIS).split(","))
    assumed = AssumedData(**{
        name: value for name, value in (("rows", rows), ("tokens", tokens), ("n_classes", classes)) if value is not None
    })  # fmt: skip
    made = make_plan(values, machines=named, assumed=assumed)
    if json:
        write_json(plan_json(made))
    else:
        show_plan(made)
    return 0


app.command("plan")(with_config_flags(plan, all_flags()))


@app.command("recipes")
def recipes(
    name: Annotated[str | None, typer.Argument(help="show this one, as YAML to copy", show_default=False)] = None,
    json: Json = False,
) -> int:
    """Starting points that a domain's literature uses: `honed fit FILE --recipe NAME`, or compare them on your data."""
    from honed.recipes.library import read_recipe, recipe_names, recipe_path

    if name is not None:
        if json:
            write_json(read_recipe(name))
        else:
            sys.stdout.write(recipe_path(name).read_text(encoding="utf-8"))
        return 0
    if json:
        write_json({"recipes": {known: read_recipe(known) for known in recipe_names()}})
        return 0
    for known in recipe_names():
        first = recipe_path(known).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        out().print(f"{known:<16} {first}", markup=False, soft_wrap=True)
    return 0


@app.command("export")
def export(
    run: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="peft|merged|onnx", help="the program that shall run it")],
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="a new folder (default: RUN/export/FORMAT)", show_default=False)
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="onnx: a second graph of 8-bit weights, its loss measured")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="write nothing: prove an existing export anew")] = False,
    json: Json = False,
) -> int:
    """Write the specialist for another program, load it back with that program, and prove that it behaves the same.

    Exit code 4 if it does not; then parity.json says what differs, and in which layer first.
    """
    from honed.app.export_view import show_export, show_parity
    from honed.app.progress import watching

    if check and int8:
        raise UsageError("--check proves what is there, 8-bit graph included.", remedy="Leave --int8 out.")
    try:
        with watching(quiet=json) as watcher:
            from honed.pipeline.export import export as write
            from honed.pipeline.export import recheck

            if check:
                result = recheck(run, to=to, out=out_folder, listeners=[watcher])
            else:
                result = write(run, to=to, out=out_folder, int8=int8, listeners=[watcher])
    except ParityError as error:
        if error.facts and not json:
            show_parity(error.facts)
        raise
    return show_export(result, as_json=json)
