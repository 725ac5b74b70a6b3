"""The outcome of a run: the verdict in large calm words, the specialist beside the baselines, and where to go next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from honed.app.console import out, printable, write_json
from honed.app.language_outcome import language_lines, language_next, language_scores
from honed.data.conversations import CONVERSATION_TASKS
from honed.errors import GateFailed

if TYPE_CHECKING:
    from rich.table import Table

    from honed.evidence.report_format import Metric
    from honed.evidence.run_facts import RunFacts
    from honed.pipeline.run_folder import RunFolder

_STYLE = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def show_outcome(run: RunFolder, *, as_json: bool, is_demo: bool = False) -> int:
    """Print the outcome of a finished run; returns the exit code (4 if the gate failed).

    Raises RunFolderError if the run folder is damaged.
    """
    from honed.evidence.report_clinical import clinical_lines
    from honed.evidence.report_scores import verdict_view
    from honed.evidence.run_facts import read_run

    facts = read_run(run.path)
    code = GateFailed.exit_code if facts.verdict["verdict"] == "FAIL" else 0
    following = _next_commands(run, facts, is_demo=is_demo)
    if as_json:
        write_json(_as_json(run, facts, code, following))
        return code
    from rich.panel import Panel
    from rich.text import Text

    view = verdict_view(facts)
    word = str(facts.verdict["verdict"])
    style = _STYLE[word]
    text = Text(" ".join(word), style=f"bold {style}")
    text.append(f"\n\n{view['headline']}", style="bold")
    text.append(f"\n{printable(view['lead'])}\n", style="")
    for reason in facts.verdict.get("reasons") or []:
        text.append(f"\n- {printable(reason)}")
    console = out()
    console.print(Panel(text, border_style=style, padding=(1, 2), width=min(console.width, 100)))
    is_language = facts.metrics.get("task") in CONVERSATION_TASKS
    console.print(language_scores(facts) if is_language else _scores(facts))
    for note in facts.dataset.get("notes") or []:
        console.print(f"Note: {printable(note)}", markup=False, style="dim")
    for line in language_lines(facts) if is_language else clinical_lines(facts):
        console.print(printable(line), markup=False, soft_wrap=True)
    if line := _labels_line(run, facts):
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    console.print(f"Run     {run.path}", markup=False, soft_wrap=True)
    console.print(f"Report  {run.report}", markup=False, soft_wrap=True)
    for i, command in enumerate(following):
        console.print(f"{'Next  ' if i == 0 else '  or  '}  {command}", markup=False, soft_wrap=True, style="bold")
    return code


def _labels_line(run: RunFolder, facts: RunFacts) -> str:
    """'12 of 1,718 labels look wrong: honed labels RUN', or '' where none does."""
    from shlex import quote

    from honed.evidence.report_format import NARROW_SPACE
    from honed.evidence.report_labels import flagged_words

    words = flagged_words(facts).replace(NARROW_SPACE, ",")
    return words and f"{words}: honed labels {quote(str(run.path))}"


def _as_json(run: RunFolder, facts: RunFacts, code: int, following: list[str]) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "report": str(run.report),
        **facts.verdict,
        **{key: facts.metrics.get(key) for key in ("metric", "label_names", "out_of_fold", "holdout", "baselines")},
        "timings_s": facts.metrics.get("timings_s"),
        "next": following,
        "exit_code": code,
    }


def _next_commands(run: RunFolder, facts: RunFacts, *, is_demo: bool) -> list[str]:
    from shlex import quote

    if facts.metrics.get("task") in CONVERSATION_TASKS:
        return language_next(str(run.path), facts)
    path = quote(str(run.path))
    if is_demo:
        return ["honed fit YOUR_FILE.csv", f"honed predict {path} NEW.csv --output predictions.csv"]
    look = [f"honed attention {path}"] if facts.adapter.get("reading") else []  # images: see where it looks
    if not isinstance(facts.metrics.get("holdout"), dict):
        return [f"honed gate {path}", *look]
    predict = f"honed predict {path} NEW.csv --output predictions.csv"
    if facts.verdict["verdict"] == "PASS":
        return [predict, *look]
    data = quote(str(facts.config.get("data", "")))
    return [f"honed check {data}", *look, predict]


def _scores(facts: RunFacts) -> Table:
    from rich import box
    from rich.table import Table

    from honed.evidence.report_format import METRICS
    from honed.evidence.report_scores import SPECIALIST, baseline_names, is_locked, main_metric

    main = main_metric(facts)
    metrics = list(dict.fromkeys([main, METRICS["accuracy"]]))
    places = ["out_of_fold"] if is_locked(facts) else ["out_of_fold", "holdout"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for metric in metrics:
        for place in places:
            table.add_column(f"{metric.name}\n{place.replace('_', ' ')}", justify="right")
    for key, name in ({SPECIALIST: SPECIALIST} | baseline_names(facts)).items():
        cells = [_cell(facts, key, metric, place) for metric in metrics for place in places]
        table.add_row(printable(name), *cells, style="bold" if key == SPECIALIST else "")
    return table


def _cell(facts: RunFacts, key: str, metric: Metric, place: str) -> str:
    from honed.evidence.report_format import DASH
    from honed.evidence.report_scores import scored

    figure = scored(facts, key, metric.key, place)
    if figure.value is None:
        return "not run"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f}\n{figure.low:.3f}{DASH}{figure.high:.3f}"
