"""The command line. Nothing heavy is imported before a command runs, so that `honed --help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import honed.app.attention_command  # adds its command
import honed.app.audit_command  # adds its command
import honed.app.chat_command  # adds its command
import honed.app.label_commands  # adds its commands
import honed.app.serve_command  # adds its commands
import honed.app.studio_command  # adds its command
import honed.app.study_commands  # noqa: F401 - adds its commands
from honed.app.config_flags import CHECK_FLAGS, all_flags, resolve_config, with_config_flags
from honed.app.console import Interrupted, err, out, printable, show_error, write_json
from honed.app.redaction import Presidio, Redact, RedactColumns, choose_finder, redact_data
from honed.app.typer_app import Json, Recipe, RunArgument, app
from honed.errors import DataError, HonedError, OutputError, UsageError
from honed.version import __version__


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"honed {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="show where a fault came from (or HONED_TRACEBACK=1)")
    ] = False,
) -> None:
    del version, traceback  # both act before a command runs: see `_version` and `run`


def fit(
    given: dict[str, Any],
    data: Annotated[
        str | None,
        typer.Argument(
            help="CSV, JSONL or Parquet file, a folder with metadata.csv, or a `datasets` name", show_default=False
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file of these settings; flags win over it", show_default=False)
    ] = None,
    recipe: Recipe = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="continue an interrupted run, as configured", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Train a specialist on your file, and prove it: checks, folds, baselines, the locked holdout, a report."""
    from honed.app.outcome import show_outcome
    from honed.app.progress import watching

    if resume is not None and (given or data or config or recipe):
        extra = [
            *(["DATA"] if data else []),
            *(["--config"] if config else []),
            *(["--recipe"] if recipe else []),
            *given,
        ]
        raise UsageError(
            f"--resume {resume} was given together with {', '.join(extra)}.",
            cause="A resumed run goes on exactly as it was configured: see its config.yaml.",
            remedy=f"`honed fit --resume {resume}` alone, or start a new run without --resume.",
        )
    settings = None if resume else resolve_config(given | ({"data": data} if data else {}), config, recipe)
    if settings is not None and not settings.data:
        raise UsageError("No data were named.", remedy="`honed fit FILE`, or try `honed demo`.")
    with watching(quiet=json) as watcher:
        from honed.pipeline import fit as pipeline

        run = pipeline.fit(settings, [watcher]) if settings else pipeline.resume(str(resume), [watcher])
    return show_outcome(run, as_json=json)


app.command("fit")(with_config_flags(fit, all_flags()))


@app.command("demo")
def demo(
    out_folder: Annotated[str | None, typer.Option("--out", help="the run folder", show_default=False)] = None,
    json: Json = False,
) -> int:
    """Train a real specialist on embedded data (licence texts into categories), without a model hub."""
    from honed.app.outcome import show_outcome
    from honed.app.progress import watching

    with watching(quiet=json) as watcher:
        from honed.pipeline.demo import demo_config
        from honed.pipeline.fit import fit as run_fit

        run = run_fit(demo_config(out_folder), [watcher])
    return show_outcome(run, as_json=json, is_demo=True)


def check(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    given: dict[str, Any],
    data: Annotated[
        str, typer.Argument(help="CSV, JSONL or Parquet file, a folder with metadata.csv, or a `datasets` name")
    ],
    out_file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.parquet", help="write every finding as a table", show_default=False),
    ] = None,
    redact: Redact = None,
    redact_columns: RedactColumns = None,
    presidio: Presidio = None,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="no colours (or NO_COLOR=1): what is learned stands in brackets")
    ] = False,
    json: Json = False,
) -> int:
    """What is wrong with a file, before any training. Exit code 3 if `honed fit` could not use it."""
    from honed.app.findings import findings_json, show_findings
    from honed.app.progress import watching

    if out_file is not None and out_file.exists():
        raise OutputError(f"--out {out_file} exists; nothing was overwritten.", remedy="Name another file.")
    if out_file is not None and not out_file.absolute().parent.is_dir():
        raise OutputError(f"--out {out_file}: there is no folder {out_file.parent}.", remedy="Make it first.")
    config = resolve_config(given | {"data": data})
    with watching(quiet=json, command="check") as watcher:
        from honed.pipeline.check import check as run_check

        finder = choose_finder(presidio)
        redacted = redact_data(data, redact, redact_columns, finder, quiet=json)
        checked = run_check(config, needs_base="base" in given, finder=finder, out=out_file, listeners=[watcher])
    code = 0 if checked.is_usable else DataError.exit_code
    if json:
        write_json(findings_json(checked, code) | redacted)
    else:
        show_findings(checked, config, out_file, has_colours=not no_color)
    return code


app.command("check")(with_config_flags(check, CHECK_FLAGS))


@app.command("predict")
def predict(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    run: RunArgument,
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="file of rows to classify; no label needed", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="CSV or Parquet file (default: CSV on stdout)", show_default=False),
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="column that holds the text (default: as trained)", show_default=False)
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="joins columns to one text (default: as trained)")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="column that names image files (default: as trained)")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="column with a unique id; '' makes ids of the content")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto")] = "auto",
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="of a language model: column of the prompt (default: the obvious)")
    ] = None,
    with_base: Annotated[
        bool, typer.Option("--with-base", help="of a language model: the base replies too, beside the specialist")
    ] = False,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="of a language model: tokens of a reply, at most")
    ] = 256,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing output")] = False,
    json: Json = False,
) -> int:
    """Classify the rows of a file: example_id, prediction and calibrated probabilities, in the file's order.

    A language model replies to each row: example_id, reply.
    """
    from honed.app.progress import watching
    from honed.events import Emitter

    with watching(quiet=json) as watcher:
        from honed.data.conversations import ConversationRoles
        from honed.data.roles import Roles
        from honed.pipeline.language_predict import Replies, is_language_run, load_writer, reply_file
        from honed.pipeline.output_file import check_output
        from honed.pipeline.predict import Answers, predict_file
        from honed.serving.generation import Writing

        if output is not None:
            check_output(output, force=force)
        answers: Answers | Replies
        if is_language_run(run):
            columns = ConversationRoles(prompt=prompt, id=id_column)
            writer, how = load_writer(run, device=device, emitter=Emitter((watcher,))), Writing(max_new_tokens)
            answers = reply_file(writer, source, columns, how, Emitter((watcher,)), with_base=with_base)
        else:
            roles = Roles(text=text, template=template, id=id_column, image=image)
            answers = predict_file(run, source, roles, device=device, emitter=Emitter((watcher,)))
    if output is not None:
        answers.write(output)
    if json:
        table = answers.table()
        rows = {"output": str(output)} if output else {"rows": table.to_pylist()}
        names = {} if isinstance(answers, Replies) else {"label_names": list(answers.label_names)}
        write_json({**names, "n_rows": table.num_rows, **rows})
    elif output is not None:
        out().print(f"{len(answers.example_id)} predictions in {output}", markup=False, soft_wrap=True)
    else:
        sys.stdout.write(answers.csv().decode())
        sys.stdout.flush()
    return 0


@app.command("gate")
def gate(
    run: RunArgument,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require", metavar="CONDITION", help="a further condition, e.g. 'accuracy >= .9'; repeat for more"
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Open the locked holdout of a run made with --no-gate, and judge it.

    A run that was judged before only says its verdict again; with --require it is judged anew, which counts as a
    further look at the holdout.
    """
    from honed.app.outcome import show_outcome
    from honed.app.progress import watching

    with watching(quiet=json) as watcher:
        from honed.pipeline.reopen import gate as run_gate

        folder, is_opened = run_gate(run, tuple(require or ()), [watcher])
    if not is_opened and not json:
        err().print("This run was judged before; its verdict stands. The holdout was not opened again.")
    return show_outcome(folder, as_json=json)


@app.command("report")
def report(run: RunArgument, json: Json = False) -> int:
    """Write report.html and the model card of a run anew, from what the run folder holds."""
    from honed.pipeline.finish import write_pages

    card, page = write_pages(run)
    if json:
        write_json({"report": str(page), "card": str(card)})
    else:
        out().print(f"Report  {page}\nCard    {card}", markup=False, soft_wrap=True)
    return 0


@app.command("bases")
def bases(json: Json = False) -> int:
    """Base models that honed knows by name, and where they were found. Any local folder or hub id works too."""
    from dataclasses import asdict

    from honed.app.findings import bases_table
    from honed.base_catalogue import BASES
    from honed.bases import find_locally

    found = {name: find_locally(spec) for name, spec in sorted(BASES.items())}
    if json:
        rows = [
            {
                **asdict(BASES[name]),
                "install": BASES[name].mirror.install,
                "source": place[0] if place else None,
                "path": str(place[1]) if place else None,
            }
            for name, place in found.items()
        ]
        write_json({"bases": rows})
    else:
        out().print(bases_table(found))
    return 0


@app.command("doctor")
def doctor(json: Json = False) -> int:
    """Versions, devices, memory, base models: what is missing, and how to get it. Exit code 1 if something is."""
    from dataclasses import asdict

    from honed.app.doctor import examine, render

    findings = examine()
    code = 1 if any(finding.status == "missing" for finding in findings) else 0
    if json:
        write_json({"findings": [asdict(finding) for finding in findings], "exit_code": code})
    else:
        out().print(render(findings))
    return code


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Every deliberate error becomes a message, never a traceback."""
    wants_traceback = "--traceback" in arguments or os.environ.get("HONED_TRACEBACK", "") not in ("", "0")
    rest = [argument for argument in arguments if argument != "--traceback"]
    as_json = "--json" in rest
    try:
        code = typer.main.get_command(app).main(args=rest, prog_name="honed", standalone_mode=False)
        if code == Interrupted.exit_code:
            show_error(Interrupted("Interrupted."), as_json=as_json)
    except HonedError as error:
        if wants_traceback:
            _print_traceback()
        show_error(error, as_json=as_json)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence: a fault of honed is told in one line
        return _unexpected(error, as_json=as_json, wants_traceback=wants_traceback)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, *, as_json: bool, wants_traceback: bool) -> int:
    usage = getattr(error, "format_message", None)
    if usage is not None:  # the command line could not be parsed
        context = getattr(error, "ctx", None)
        remedy = f"See `{context.command_path if context else 'honed'} --help`."
        message = usage() or "A command is missing."
        shown: HonedError = UsageError(message, remedy=remedy)
    elif _is_out_of_memory(error):
        shown = HonedError(
            "The memory is used up.",
            cause=printable(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="Use a smaller --batch-size or --max-tokens, a smaller base, or close other programs.",
        )
    elif wants_traceback:
        _print_traceback()
        shown = HonedError(f"A fault in honed: {type(error).__name__}: {error}")
    else:
        shown = HonedError(
            f"A fault in honed: {type(error).__name__}: {error}",
            cause=f"The traceback was saved in {_save_traceback()}.",
            remedy="Please report it with that file; `--traceback` shows it here.",
        )
    show_error(shown, as_json=as_json)
    return shown.exit_code


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


def _print_traceback() -> None:
    import traceback

    err().print(traceback.format_exc(), markup=False, soft_wrap=True)


def _save_traceback() -> str:
    import tempfile
    import traceback

    try:
        with tempfile.NamedTemporaryFile("w", prefix="honed-traceback-", suffix=".txt", delete=False) as file:
            file.write(traceback.format_exc())
            return file.name
    except OSError:
        return "no file (nothing could be written)"


def main() -> None:
    """The entry point of `honed` and `python -m honed`."""
    sys.exit(run(sys.argv[1:]))
