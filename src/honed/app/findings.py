"""How the findings of `honed check`, and the named bases, look on a terminal and to a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from honed.app.console import out, printable
from honed.app.conversation_view import show_format, show_masks

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from honed.bases import Source
    from honed.config import Config
    from honed.data.issue_stream import IssueStream
    from honed.pipeline.check import CheckedFile

_DONE = {
    "drop": "left out: nothing to score",
    "group": "kept in one fold with its like",
    "review": "for a person to look at",
    "none": "only told",
}
_PARTS = ("text", "template", "image", "messages", "prompt", "input", "response", "system", "label", "group", "id")
_PREVIEW_CHARACTERS = 200
_EXAMPLE_CHARACTERS = 240
_MOST_CLASSES = 12


def findings_json(checked: CheckedFile, code: int) -> dict[str, Any]:
    """Everything that was found, with the first rows of each check."""
    error = checked.infeasible
    return {
        **checked.facts,
        "is_usable": checked.is_usable,
        "fold_sizes": None if checked.fold_sizes is None else {str(k): n for k, n in checked.fold_sizes.items()},
        "infeasible": error and {"problem": error.problem, "cause": error.cause, "remedy": error.remedy},
        "not_run": list(checked.not_run),
        "findings": [
            {"check": name, "n_issues": count, "action": action, "examples": examples}
            for name, count, action, examples in _by_check(checked.issues, 3)
        ],
        "exit_code": code,
    }


def _by_check(issues: IssueStream, n_examples: int) -> list[tuple[str, int, str, list[str]]]:
    """(check, issues, what is done, evidence of the worst) of every check that found something."""
    return [
        (
            name,
            found.n_issues,
            "; ".join(_DONE[action] for action in found.actions),
            [_with_row(issue.evidence, issue.row) for issue in found.worst[:n_examples]],
        )
        for name, found in issues.by_check.items()
    ]


def _with_row(evidence: str, row: int) -> str:
    return evidence if row < 0 or evidence.startswith("Row ") else f"Row {row + 1}: {evidence}"


def show_findings(checked: CheckedFile, config: Config, out_file: Path | None, *, has_colours: bool = True) -> None:
    """Print what was found, what will be done about it, and what the model will see."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from honed.evidence.report_format import excerpt

    console, facts = out(has_colours=has_colours), checked.facts
    roles = facts["roles"]
    console.print(Text(printable(facts["source"]), style="bold"))
    named = [f"{part} {roles[part]!r}" for part in _PARTS if roles.get(part)]
    counts = facts["class_counts"]
    console.print(f"Rows     {facts['n_used']} usable of {facts['n_rows']}; {facts['n_groups']} groups", markup=False)
    console.print(f"Columns  {printable(', '.join(named))}", markup=False)
    if "conversations" in facts:
        show_format(facts, console)
    else:
        shown = sorted(counts, key=lambda name: -counts[name])[:_MOST_CLASSES]
        classes = ", ".join(f"{name} {counts[name]}" for name in shown)
        more = f", and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
        console.print(f"Classes  {len(counts)}: {printable(classes)}{more}", markup=False)
    sizes = facts["checks"].get("image_sizes")
    if sizes:
        shown_sizes = ", ".join(f"{size['width']} x {size['height']} ({size['n']})" for size in sizes)
        console.print(f"Images   {shown_sizes}; {', '.join(facts['checks']['image_modes'])}", markup=False)
    _show_personal(facts["checks"], console)
    for note in facts["notes"]:
        console.print(f"Note     {printable(note)}", markup=False)
    rows = _by_check(checked.issues, 1)
    if rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for header, fold in (("finding", "ignore"), ("rows", "ignore"), ("what is done", "fold"), ("worst", "fold")):
            table.add_column(header, overflow="fold", no_wrap=fold == "ignore")
        for name, count, done, examples in rows:
            table.add_row(name, str(count), done, Text(printable(excerpt(examples[0], _EXAMPLE_CHARACTERS))))
        console.print(table)
    else:
        console.print("\nNothing is wrong with the rows.\n")
    if "conversations" in facts:
        show_masks(facts, console)
    else:
        _show_tokens(checked, config, console)
    for text in checked.not_run:
        console.print(f"Not run  {printable(text)}", markup=False)
    if checked.fold_sizes is not None:
        sizes = [n for fold, n in checked.fold_sizes.items() if fold >= 0]
        held = checked.fold_sizes.get(-1, 0)
        console.print(f"Folds    {len(sizes)} of {min(sizes)} to {max(sizes)} rows, {held} rows locked as the holdout")
    if out_file is not None:
        console.print(f"Table    {checked.issues.n_findings} findings in {out_file}", markup=False, soft_wrap=True)
    if checked.infeasible is None:
        task = "" if config.task == "auto" else f" --task {config.task}"
        source = printable(facts["source"])
        console.print(f"\nUsable.  Next: honed fit {source}{task}", markup=False, style="bold green")
    else:
        error = checked.infeasible
        console.print("\nNot usable as it stands.", style="bold red")
        for name, part in (("Problem", error.problem), ("Cause", error.cause), ("Remedy", error.remedy)):
            if part:
                console.print(f"{name:8} {printable(part)}", markup=False)


def _show_personal(checks: Mapping[str, Any], console: Console) -> None:
    """One line for each place of personal data: kinds and counts, never what was found."""
    from honed.data.personal_columns import personal_words

    lines = personal_words(checks)
    for line in lines:
        console.print(f"Personal {printable(line)}", markup=False)
    if lines:
        console.print("         --redact FILE writes a copy with pseudonyms in all columns", markup=False)


def _show_tokens(checked: CheckedFile, config: Config, console: Console) -> None:
    from honed.evidence.report_format import excerpt

    summary = checked.facts["checks"]
    length = summary["token_length"]
    if length is None:
        return
    console.print(
        f"Tokens   median {length['median']}, 95 % have at most {length['p95']}, longest {length['max']}; "
        f"{summary['truncation_frac']:.1%} are cut at --max-tokens {config.max_tokens}",
        markup=False,
    )
    console.print("The model will see:")
    for entry in summary["preview"]:
        console.print(f"  {printable(excerpt(entry['decoded'], _PREVIEW_CHARACTERS))}", markup=False, style="dim")


def bases_table(found: Mapping[str, tuple[Source, Path] | None]) -> Table:
    """The named bases, each with where it was found or how to get it."""
    from rich.table import Table

    from honed.base_catalogue import BASES

    table = Table(box=None, pad_edge=False)
    for header in ("base", "what it is", "licence", "where"):
        table.add_column(header, overflow="fold")
    for name, place in found.items():
        spec = BASES[name]
        hub = f", or the hub ({spec.hub_id})" if spec.is_hub_copy else ""
        where = f"{place[0]}: {place[1]}" if place else f"not here: {spec.mirror.install}{hub}"
        table.add_row(name, spec.description, spec.license, where)
    return table
