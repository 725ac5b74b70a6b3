"""What the page and the card of a run that answers in words say, as plain values for their templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from honed.data.personal.find import mask
from honed.evidence.forgetting import KINDS
from honed.evidence.language_metrics import NO_BASE, NO_FORGETTING, NO_SAFETY
from honed.evidence.language_plots import PairRow, margin_cloud, pair_forest
from honed.evidence.language_scores import LOSS_SCORES, PREFERENCE_SCORES, REPLY_SCORES, LanguageScore, language_score
from honed.evidence.preferences import worst_pairs
from honed.evidence.reply_scores import Generations
from honed.evidence.report_data import FULL_CHARACTERS, about_view, settings
from honed.evidence.report_format import NOT_RUN, Figure, bare_reason, count, decimal, excerpt, figure, finite, percent
from honed.evidence.report_format import Metric as Shown
from honed.evidence.report_scores import LOCKED, cell, difference_cell, section, verdict_view
from honed.evidence.run_facts import Json, RunFacts
from honed.evidence.safety import SafetyTable, worst_probes

N_REPLIES = 12
MARGIN = Shown(
    "margin", "Margin", False, False, "log-likelihood of the good reply minus that of the bad one, per token"
)
SHARE = Shown("bad_preferred", "Bad reply preferred", True, True, "the share of probes with a negative margin")
RATIO = Shown("ratio", "Perplexity ratio", False, True, "perplexity of the specialist over that of the base")
SCOPE = (
    "These figures hold for prompts like those of this data set, and the margins for probes like those of the set: they"
    " prove nothing about other questions. No test can show that a model is safe, only that a known harm is absent."
)
_PARTS = (("holdout", "Locked holdout"), ("out_of_fold", "Out of fold (cross-validated)"))
_TITLES = {
    "harm": ("Does it prefer harmful replies?", "safe", "harmful"),
    "benign": ("Does it refuse harmless requests?", "helpful", "refusing"),
}


def language_verdict(facts: RunFacts) -> Json:
    """The verdict in words, with the loss and perplexity of the specialist and of the base as tiles."""
    view = verdict_view(facts)
    where = str(view["where"])
    own, base = (_scores_of(facts, who, where) for who in ("specialist", "base"))
    tiles = []
    for name in ("loss", "perplexity", "preference_loss", "preference_accuracy"):
        mine, other = figure(own.get(name)), figure(base.get(name))
        if mine.value is not None:
            beside = "" if other.value is None else f"the base: {decimal(other.value)}"
            tiles.append({"name": language_score(name).title, "value": decimal(mine.value), "range": beside})
    return {**view, "tiles": tiles, "scope": SCOPE}


def _scores_of(facts: RunFacts, who: str, where: str) -> Json:
    if who == "specialist":
        return section(facts.metrics, where)
    base = section(section(facts.metrics, "baselines"), "base")
    return base if where == "out_of_fold" else section(base, "holdout")


def language_scores_view(facts: RunFacts) -> Json:
    """Every score of base and specialist with the paired difference, on the holdout and out of fold."""
    base = section(section(facts.metrics, "baselines"), "base")
    tables: list[Json] = []
    used: dict[str, LanguageScore] = {}
    levels: set[float] = set()
    for where, title in _PARTS:
        own, other = _scores_of(facts, "specialist", where), _scores_of(facts, "base", where)
        change = section(section(base, "difference"), where)
        rows = []
        for name in _names(own):
            score = used.setdefault(name, language_score(name))
            mine, theirs = figure(own[name]), figure(other.get(name), bare_reason(NO_BASE))
            levels |= {fig.level for fig in (mine, theirs) if fig.level is not None}
            rows.append(
                {
                    "name": score.title,
                    "n": count((own[name] or {}).get("n", "")),
                    "base": cell(score.shown, theirs),
                    "specialist": cell(score.shown, mine),
                    "difference": difference_cell(score.shown, figure(change.get(name))),
                }
            )
        tables.append({"title": title, "rows": rows, "not_run": "" if rows else NOT_RUN + LOCKED})
    return {
        "tables": tables,
        "scores": [{"name": score.title, "meaning": score.meaning} for score in used.values()],
        "levels": [percent(level, 0) for level in sorted(levels)],
        "has_replies": any(name not in {**LOSS_SCORES, **PREFERENCE_SCORES} for name in used),
    }


def _names(scores: Mapping[str, Any]) -> list[str]:
    """The scores of a part in their order, the user's own last."""
    known: dict[str, LanguageScore] = {**LOSS_SCORES, **PREFERENCE_SCORES, **REPLY_SCORES}
    return [name for name in known if name in scores] + [name for name in scores if name not in known]


def length_view(facts: RunFacts) -> Json:
    """Loss from short to long replies; empty for preferences, of which a pair has no length."""
    if facts.metrics.get("task") == "preference":
        return {}
    found = facts.metrics.get("length") or []
    rows = [
        PairRow(_tokens(row), figure(row.get("base"), bare_reason(NO_BASE)), figure(row.get("specialist")))
        for row in found
        if isinstance(row, Mapping)
    ]
    svg = pair_forest("Loss in nats per token from short to long replies, out of fold", rows)
    return {"svg": svg, "not_run": "" if svg else NOT_RUN + "the run folder holds no losses by length"}


def _tokens(row: Mapping[str, Any]) -> str:
    first, last = count(row.get("first")), count(row.get("last"))
    return f"{first if first == last else f'{first} to {last}'} tokens, {count(row.get('n'))} rows"


def probes_of(facts: RunFacts) -> SafetyTable | None:
    """The safety probes that the run was asked."""
    return SafetyTable.read(facts.run)


def safety_view(facts: RunFacts, table: SafetyTable | None, kind: str) -> Json:
    """The margins of one kind of probes: summary, categories, plots, the ten worst in full text."""
    title, good, bad = _TITLES[kind]
    told = section(section(facts.metrics, "safety"), kind)
    names = {"title": title, "good": good, "bad": bad, "kind": kind}
    part = None if table is None else table.take(table.kind == kind)
    if part is None or not len(part) or not told:
        reason = bare_reason(NO_SAFETY) if table is None else f"no probe of the kind {kind!r} was scored"
        return {**names, "not_run": NOT_RUN + reason}
    categories = [_category_row(name, row) for name, row in section(told, "by_category").items()]
    forest = [
        PairRow(f"{name} ({row['n']})", figure(row.get("base_margin")), figure(row.get("specialist_margin")))
        for name, row in section(told, "by_category").items()
    ]
    return {
        **names,
        "not_run": "",
        "n": len(part),
        "n_turned": told.get("n_turned", 0),
        "all": _category_row("All probes", told),
        "domains": [_category_row(name, row) for name, row in section(told, "by_domain").items()],
        "categories": categories,
        "forest": pair_forest(f"{title} Margin by category", forest, 0.0),
        "cloud": margin_cloud(part.base, part.specialist),
        "worst": [_probe(part, i) for i in worst_probes(part)],
    }


def _category_row(name: str, row: Json) -> Json:
    change = figure(row.get("change"))
    corrected = finite(section(row, "change").get("corrected_p"))
    return {
        "name": name,
        "n": row.get("n", ""),
        "base": cell(MARGIN, figure(row.get("base_margin"))),
        "specialist": cell(MARGIN, figure(row.get("specialist_margin"))),
        "change": _change(change if corrected is None else replace(change, p_value=corrected)),
        "base_bad": cell(SHARE, figure(row.get("base_bad_preferred"))),
        "specialist_bad": cell(SHARE, figure(row.get("specialist_bad_preferred"))),
    }


def _change(fig: Figure) -> dict[str, str]:
    """A change of margin for a table, said as a rise or a fall where the whole interval says so."""
    found = difference_cell(MARGIN, fig)
    return {**found, "word": {"pass": "rose", "fail": "fell"}.get(found["tone"], "no clear change")}


def _probe(table: SafetyTable, i: int) -> dict[str, str]:
    return {
        "probe_id": str(table.probe_id[i]),
        "category": str(table.category[i]),
        "prompt": table.prompt[i],
        "good": table.good[i],
        "bad": table.bad[i],
        "base": f"{table.base[i]:+.2f}",
        "specialist": f"{table.specialist[i]:+.2f}",
        "change": f"{table.change[i]:+.2f}",
        "is_lost": "yes" if table.specialist[i] < 0 else "",
        "was_lost": "yes" if table.base[i] < 0 else "",
    }


def forgetting_view(facts: RunFacts) -> Json:
    """Perplexity on general rows, specialist over base."""
    told = section(facts.metrics, "forgetting")
    rows: list[Json] = []
    for kind, words in KINDS.items():
        row = section(told, kind)
        if not row:
            rows.append({"name": words, "not_run": f"{words}: {NOT_RUN}no such row was scored"})
            continue
        losses = {who: finite(row.get(f"{who}_loss")) for who in ("base", "specialist")}
        rows.append(
            {
                "name": words,
                "not_run": "",
                "n": count(row.get("n")),
                "n_tokens": count(row.get("n_tokens")),
                **{who: "" if loss is None else decimal(loss) for who, loss in losses.items()},
                "ratio": cell(RATIO, figure(row.get("ratio"))),
            }
        )
    reason = str(told.get("not_run") or NO_FORGETTING)
    return {"rows": rows, "not_run": "" if any(section(told, kind) for kind in KINDS) else reason}


def replies_view(table: Generations | None) -> Json:
    """Some replies side by side: evenly spaced rows of the cross-validated ones, so nobody picked them.

    Rows of the holdout are never shown, or it would soon be spent.
    """
    own = [] if table is None else [i for i, part in enumerate(table.part) if part == "out_of_fold"]
    if table is None or not own:
        return {"rows": [], "not_run": NOT_RUN + "no reply was generated for a cross-validated row"}
    step = max(len(own) / N_REPLIES, 1.0)
    chosen = [own[int(k * step)] for k in range(min(N_REPLIES, len(own)))]
    names = ("prompt", "reference", "base", "specialist")
    return {
        "not_run": "",
        "n": len(own),
        "rows": [
            {"example_id": mask(table.example_id[i])}
            | {name: excerpt(mask(getattr(table, name)[i]), FULL_CHARACTERS) for name in names}
            for i in chosen
        ],
    }


def pairs_view(facts: RunFacts) -> Json:
    """The cross-validated pairs that tuning moved furthest to the wrong side; empty where the rows are no pairs."""
    if facts.metrics.get("task") != "preference":
        return {}
    found = worst_pairs(facts.run)
    names = ("prompt", "chosen", "rejected")
    return {
        "not_run": NOT_RUN + "the run kept no texts (--no-keep-texts)" if found is None else "",
        "rows": [
            {"example_id": mask(pair.example_id), "gain": f"{pair.gain:+.2f}"}
            | {name: excerpt(mask(getattr(pair, name)), FULL_CHARACTERS) for name in names}
            for pair in found or []
        ],
    }


def language_about(facts: RunFacts) -> Json:
    """What this specialist is, and what it read: format, template, which tokens carry the loss, what was cut."""
    view = about_view(facts)
    checks = section(facts.dataset, "checks")
    cut = finite(checks.get("truncation_frac"))
    template = section(section(facts.adapter, "reading"), "template").get("source")
    limit = facts.adapter.get("max_tokens") or facts.config.get("max_tokens")
    is_pair = facts.metrics.get("task") == "preference"
    told = [
        ("Format of the data", section(facts.dataset, "conversations").get("format")),
        ("Loss on", None if is_pair else facts.config.get("train_on")),
        ("Preferences", f"DPO, beta {facts.config.get('beta')}" if is_pair else None),
        ("Most tokens a row", limit),
        ("Rows cut there", None if cut is None else percent(cut)),
        ("General rows mixed in", facts.config.get("replay")),
    ]
    rows: Sequence[tuple[str, str]] = view["rows"]  # type: ignore[assignment]
    kept = [(name, text) for name, text in rows if name != "Head \u00b7 depth"]
    return {
        "rows": kept + [(name, str(text)) for name, text in told if text not in (None, "")],
        "notes": view["notes"],
        "template": "" if template is None else excerpt(str(template), FULL_CHARACTERS),
    }


TRAINING = (
    "method", "method_options", "depth", "max_tokens", "train_on", "epochs", "batch_size", "learning_rate", "replay",
    "folds", "holdout_frac", "stop_frac", "seed",
)  # fmt: skip


def training_view(facts: RunFacts) -> list[tuple[str, str]]:
    """The settings that a card names."""
    own = ("task", "beta", *TRAINING) if facts.metrics.get("task") == "preference" else TRAINING
    return settings(facts.config, own)
