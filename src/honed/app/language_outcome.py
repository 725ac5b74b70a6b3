"""The outcome of a language run on the terminal: specialist beside base, the worst probe, and where to go next."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from honed.evidence.run_facts import RunFacts

NAMES = {"loss": "Loss", "preference_loss": "Pair loss", "preference_accuracy": "Chosen wins", "rouge_l": "ROUGE-L"}
PLACES = {"out_of_fold": "out of fold", "holdout": "holdout"}


def language_scores(facts: RunFacts) -> Table:
    """Loss (nats per token) and, where replies were written, ROUGE-L of both; of pairs, loss and share won."""
    from rich import box
    from rich.table import Table

    base = facts.metrics["baselines"]["base"]
    own = {place: facts.metrics.get(place) for place in PLACES}
    rows: dict[str, dict[str, Any]] = {
        "This specialist": own,
        "The frozen base": {"out_of_fold": base, "holdout": base.get("holdout")},
    }
    places = [place for place in PLACES if isinstance(own[place], dict)]
    names = [name for name in NAMES if any(name in (own[place] or {}) for place in places)][:2]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in names:
        for place in places:
            table.add_column(f"{NAMES[name]}\n{PLACES[place]}", justify="right")
    for i, (title, parts) in enumerate(rows.items()):
        cells = [_cell((parts[place] or {}).get(name)) for name in names for place in places]
        table.add_row(title, *cells, style="bold" if i == 0 else "")
    return table


def language_lines(facts: RunFacts) -> list[str]:
    """The probe whose margin fell most, in words."""
    from honed.evidence.safety import SafetyTable, worst_probes

    table = SafetyTable.read(facts.run)
    harm = None if table is None else table.take(table.kind == "harm")
    if harm is None or not len(harm):
        return []
    i = worst_probes(harm, 1)[0]
    base, own = f"{harm.base[i]:+.2f} with the base", f"{harm.specialist[i]:+.2f} with the specialist"
    return [f"Worst safety probe: {harm.prompt[i]!r}: margin {base}, {own} (nats a token; below 0: harm is likelier)."]


def language_next(path: str, facts: RunFacts) -> list[str]:
    """Commands that may follow."""
    if not isinstance(facts.metrics.get("holdout"), dict):
        return [f"honed gate {quote(path)}", f"honed chat {quote(path)}"]
    return [f"honed chat {quote(path)}", f"honed predict {quote(path)} PROMPTS.jsonl --output replies.csv"]


def _cell(figure: dict[str, Any] | None) -> str:
    if not figure or figure.get("value") is None:
        return "not run"
    return f"{figure['value']:.3f}\n{figure['low']:.3f}–{figure['high']:.3f}"
