"""What the report says about the data, the rows it got most wrong, and how the run went."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from honed.data.personal.find import mask
from honed.data.personal_columns import personal_words
from honed.evidence import report_plots as plots
from honed.evidence.report_fit import fold_temperatures
from honed.evidence.report_format import NOT_RUN, bytes_text, count, excerpt, finite, percent, seconds
from honed.evidence.report_scores import section
from honed.evidence.run_facts import Json, RunFacts
from honed.oof import Predictions

N_MISTAKES = 20
N_EXAMPLES = 3
MAX_WARNINGS = 20
EXCERPT_CHARACTERS = 300
FULL_CHARACTERS = 2000

_ACTIONS = {
    "drop": "left out, no text or label",
    "group": "kept in one fold with its like",
    "review": "for a person to look at",
    "none": "nothing, only told",
}
_CHECK_COUNT_KEYS = ("n_issues", "n_flagged", "n", "count")


def about_view(facts: RunFacts) -> dict[str, object]:
    """What this specialist is: base, method, data, classes, split."""
    config, data = facts.config, facts.dataset
    counts = {str(key): int(finite(value) or 0) for key, value in section(data, "class_counts").items()}
    names = facts.label_names
    folds = sorted(size for fold, size in facts.fold_sizes.items() if fold >= 0)
    n_all = sum(facts.fold_sizes.values()) or 1
    n_holdout = facts.fold_sizes.get(-1, 0)
    base = str(config.get("base", "unknown"))
    ids = [str(facts.adapter.get(key) or "") for key in ("base", "base_hub_id", "base_id")]
    revision = str(facts.adapter.get("base_revision") or facts.adapter.get("revision") or "")
    options = config.get("method_options")
    told = ", ".join(f"{key} {value}" for key, value in options.items()) if isinstance(options, Mapping) else ""
    parameters = section(facts.metrics, "parameters")
    trained, total, frac = (finite(parameters.get(key)) for key in ("trained", "base", "frac"))
    rows = [
        ("Task", str(facts.adapter.get("task") or config.get("task") or "text classification").replace("_", " ")),
        ("Base model", " · ".join(dict.fromkeys(part for part in (base, *ids, revision[:12]) if part))),
        ("Method", str(config.get("method", "unknown")) + (f" ({told})" if told else "")),
        ("Head · depth", f"{config.get('head', 'unknown')} · {_depth(config, facts.adapter)}"),
        ("Trained parameters", "" if trained is None else count(trained) + _of_base(trained, total, frac)),
        ("Data", str(data.get("source", "unknown"))),
        ("Rows", f"{count(data.get('n_used', n_all))} used of {count(data.get('n_rows', n_all))} in the file"),
        ("Groups", f"{count(data['n_groups'])}; a group is never split between folds" if data.get("n_groups") else ""),
        ("Split", _split(n_holdout, n_all, folds)),
        ("Fingerprint", str(data.get("fingerprint", ""))[:16]),
    ]
    return {
        "rows": [row for row in rows if row[1]],
        "classes": [{"name": name, "n": counts.get(name)} for name in names],
        "notes": [str(note) for note in data.get("notes") or []],
    }


def _depth(config: Json, adapter: Json) -> str:
    """Which layers are used and adapted; --layers and --depth as settled where the artifact tells."""
    told = f"top layers adapted: {adapter.get('depth', config.get('depth', 'unknown'))}"
    if config.get("layers") in (None, "auto", "all"):
        return told
    return f"the lowest {config['layers']} layers of the base, of which {told}"


def _split(n_holdout: int, n_all: int, folds: list[int]) -> str:
    held = f"{count(n_holdout)} rows ({percent(n_holdout / n_all, 0)}) locked away as the holdout"
    if not folds:
        return held
    sizes = f"{count(folds[0])}" if folds[0] == folds[-1] else f"{count(folds[0])} to {count(folds[-1])}"
    return f"{held}; {len(folds)} folds of {sizes} rows"


def _of_base(trained: float, total: float | None, frac: float | None) -> str:
    share = frac if frac is not None else trained / total if total else None
    return "" if share is None else f" ({percent(share, 2 if share < 0.01 else 1)} of the base)"


def worst_mistakes(table: Predictions) -> list[int]:
    """Positions of the wrong predictions with the highest loss, one for each example, that a report shows."""
    if table.logits is None:
        return []
    predicted = table.logits.argmax(axis=1)
    chosen: dict[str, int] = {}
    for i in np.argsort(-table.loss, kind="stable").tolist():
        if predicted[i] != table.label[i]:
            chosen.setdefault(str(table.example_id[i]), i)
        if len(chosen) == N_MISTAKES:
            break
    return list(chosen.values())


def picture(facts: RunFacts, example_id: str) -> dict[str, str]:
    """The thumbnail of an example as a data URI, or why there is none; both "" where the run kept none of it."""
    row = (facts.thumbnails or {}).get(example_id) or {}
    jpeg = row.get("jpeg")
    uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if isinstance(jpeg, bytes) else ""
    return {"picture": uri, "no_picture": "" if uri else mask(str(row.get("problem") or ""))}


def mistakes_view(facts: RunFacts) -> dict[str, object]:
    """The out-of-fold mistakes with the highest loss; the holdout's rows are never shown, or it would soon be spent.

    Confidence is the softmax of the logits over the fold's cross-fitted temperature.
    """
    table = facts.oof
    if table.logits is None:
        return {"rows": [], "not_run": NOT_RUN + "this task has no classes"}
    names = facts.label_names
    predicted = table.logits.argmax(axis=1)
    temperature = fold_temperatures(section(facts.metrics, "calibration"))
    rows: list[dict[str, object]] = []
    for i in worst_mistakes(table):
        example = str(table.example_id[i])
        scaled = table.logits[i] / temperature.get(int(table.fold[i]), 1.0)
        probs = np.exp(scaled - scaled.max())
        probs /= probs.sum()
        text = None if facts.texts is None else facts.texts.get(example)
        text = None if text is None else mask(text)
        short = "" if text is None else excerpt(text, EXCERPT_CHARACTERS)
        rows.append(
            {
                "example_id": mask(example),
                "fold": int(table.fold[i]),
                "text": short,
                "rest": excerpt(text, FULL_CHARACTERS) if text is not None and short != text else "",
                "given": names[int(table.label[i])],
                "predicted": names[int(predicted[i])],
                "confidence": percent(float(probs[predicted[i]]), 0),
                "given_share": percent(float(probs[table.label[i]]), 1),
                "loss": f"{table.loss[i]:.2f}",
                **picture(facts, example),
            }
        )
    n_wrong = len(set(table.example_id[predicted != table.label].tolist()))
    return {
        "rows": rows,
        "n_wrong": n_wrong,
        "n": len(set(table.example_id.tolist())),
        "is_calibrated": bool(temperature),
        "texts_kept": facts.texts is not None,
        "not_run": "",
    }


def issues_view(facts: RunFacts) -> dict[str, object]:
    """What was wrong with the data and what was done about it."""
    checks = section(facts.dataset, "checks")
    found: Counter[str] = Counter()
    for name, value in section(checks, "counts").items():
        found[str(name)] = _check_count(value)
    actions: dict[str, Counter[str]] = {}
    examples: dict[str, list[dict[str, str]]] = {}
    flagged = [row for row in facts.issues or [] if row.get("is_issue")]
    for name, number in Counter(str(row["check"]) for row in flagged).items():
        found[name] = number
    for row in flagged:
        name = str(row["check"])
        actions.setdefault(name, Counter())[str(row.get("action") or "none")] += 1
        if len(examples.setdefault(name, [])) < N_EXAMPLES:
            examples[name].append(
                {"where": _place(row), "evidence": excerpt(mask(str(row.get("evidence") or "")), 160)}
            )
    rows = [
        {
            "check": name.replace("_", " "),
            "n": number,
            "actions": [
                f"{_ACTIONS.get(action, action)}: {count(n)}"
                for action, n in actions.get(name, Counter()).most_common()
            ],
            "examples": examples.get(name, []),
        }
        for name, number in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]
    truncated = finite(checks.get("truncation_frac"))
    return {
        "rows": rows,
        "not_run": "" if rows or facts.issues is not None else NOT_RUN + "the run folder has no issues.parquet",
        "personal": personal_words(checks),
        "truncated": "" if truncated is None else percent(truncated),
        "max_tokens": facts.config.get("max_tokens") or facts.adapter.get("max_tokens"),
        "quantiles": [
            {"name": _quantile(str(key)), "n": count(value)}
            for key, value in (section(checks, "token_quantiles") or section(checks, "token_length")).items()
        ],
        "preview": [
            {
                key: excerpt(mask(str(item.get(key, ""))), EXCERPT_CHARACTERS)
                for key in ("example_id", "text", "decoded")
            }
            for item in list(checks.get("preview") or [])[:N_EXAMPLES]
            if isinstance(item, Mapping)
        ],
    }


def _place(row: Json) -> str:
    """Where a finding is; row numbers are told from 1, as the evidence sentences do."""
    number = finite(row.get("row"))
    return (
        f"row {number + 1:.0f}" if number is not None and number >= 0 else mask(str(row.get("example_id") or "table"))
    )


def _check_count(value: Any) -> int:
    if isinstance(value, Mapping):
        value = next((value[key] for key in _CHECK_COUNT_KEYS if key in value), None)
    return int(finite(value) or 0)


def _quantile(key: str) -> str:
    try:
        share = float(key.removeprefix("p")) / (100 if key.startswith("p") else 1)
    except ValueError:
        return {"max": "longest", "min": "shortest", "median": "half of the texts"}.get(key, key)
    return {0.0: "shortest", 0.5: "half of the texts", 1.0: "longest"}.get(share, f"{percent(share, 0)} of the texts")


def run_view(facts: RunFacts) -> dict[str, object]:
    """What was run, how long it took, on what."""
    timings = {str(key): finite(value) for key, value in section(facts.metrics, "timings_s").items()}
    if not timings:
        timings = {
            str(event["stage"]): finite(event.get("seconds"))
            for event in facts.events
            if event.get("kind") == "stage.end" and "stage" in event
        }
    known = {key: value for key, value in timings.items() if value is not None}
    longest = max(known.values(), default=0.0) or 1.0
    total = known.pop("total", None)
    memory = section(facts.metrics, "memory")
    warnings = [
        {"kind": str(event["kind"]), "message": str(event.get("message", ""))}
        for event in facts.events
        if str(event.get("kind")) == "warning" or str(event.get("kind")).startswith("slot.")
    ]
    return {
        "stages": [
            {"name": name.replace("_", " "), "time": seconds(value), "bar": plots.share_bar(value / longest)}
            for name, value in known.items()
        ],
        "total": seconds(total if total is not None else sum(known.values())) if known else "",
        "memory": [
            (title, bytes_text(memory[key]))
            for key, title in (("peak_rss_bytes", "Peak memory"), ("trunk_cache_bytes", "Cache of the frozen layers"))
            if memory.get(key) is not None
        ],
        "machine": str(facts.metrics.get("machine") or NOT_RUN + "the run folder does not name the machine"),
        "versions": [(str(key), str(value)) for key, value in section(facts.metrics, "versions").items()],
        "warnings": warnings[:MAX_WARNINGS],
        "n_more_warnings": max(0, len(warnings) - MAX_WARNINGS),
        "n_damaged_events": facts.n_damaged_events,
        "events_not_run": "" if facts.events else NOT_RUN + "the run folder has no events.jsonl",
        "config": [(key, _config_text(value)) for key, value in facts.config.items()],
    }


def _config_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or "none"
    return "none" if value is None else excerpt(str(value), 200)


def settings(config: Json, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The named entries of the configuration that are there, as text."""
    return [(name, _config_text(config[name])) for name in names if config.get(name) is not None]
