"""Fabricates a small, deterministic run folder, so that the report can be tested without training anything.

Only `random.Random.random` and `math` are used, whose values do not change between versions. Also a script:
`PYTHONPATH=tests python tests/golden/make_run.py DIR [--classes 77] [--locked] [--verdict FAIL] [--hostile] [--bare]`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from golden.make_labels import make_labels
from honed.oof import Predictions

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=alert(1)> </style></textarea>{{ 7*7 }} & "
    "\u202egnp.exe\u202c "
    "\x00\x07\x1b[31m\u200b `code` | **bold** \ud800 https://example.invalid/x.png"
)
METRICS = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss", "auroc", "ece")
WORDS = re.findall(
    r"\w+",
    "the court finds that licence of said software shall be granted to any person without charge or warranty under law",
)


@dataclass(frozen=True)
class RunOptions:
    """What the fabricated run is like; `bare`: without baselines, holdout, texts, events, issues and calibration."""

    n_classes: int = 3
    n_rows: int = 240
    verdict: str = "PASS"
    locked: bool = False
    hostile: bool = False
    bare: bool = False
    head: str = "mean"
    seed: int = 7


def make_run(run: Path, options: RunOptions) -> Path:
    """Write the run folder; `run` must not exist."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    rng = random.Random(options.seed)
    run.mkdir(parents=True)
    names = _label_names(options)
    ids = [f"row-{i:04d}" for i in range(options.n_rows)]
    label = [int(options.n_classes * rng.random() ** 1.3) for _ in ids]
    fold = [-1 if i % 7 == 0 else i % 5 for i in range(options.n_rows)]
    table = _predictions(rng, ids, label, fold, options.n_classes)
    inside = table.fold >= 0
    table.take(inside).write(run / "oof.parquet")
    shut = options.locked or options.bare
    if not shut:
        table.take(~inside).write(run / "holdout.parquet")
    stop = [f >= 0 and rng.random() < 0.1 for f in fold]
    group = [f"group {i % 60}" for i in range(options.n_rows)]
    pq.write_table(pa.table({"example_id": ids, "group": group, "fold": fold, "stop": stop}), run / "folds.parquet")
    (run / "config.yaml").write_text(yaml.safe_dump(_config(options)), encoding="utf-8")
    _write(run / "dataset.json", _dataset(options, names, label))
    labels = {} if options.bare else make_labels(run, table.take(inside), names)
    _write(run / "metrics.json", _metrics(table, names, options, shut) | labels)
    _write(run / "verdict.json", _verdict(options, shut))
    (run / "adapter").mkdir()
    honed = {
        "base": "minilm",
        "base_id": "sentence-transformers/all-MiniLM-L6-v2",
        "revision": "c9745ed1d9f207416be6d2e6f8de32d1",
        "hash": "0" * 64,
        "task": "text_classification",
        "head": options.head,
        "label_names": names,
        "max_tokens": 128,
        "temperature": 1.62,
    }
    _write(run / "adapter" / "honed.json", honed)
    if not options.bare:
        _write_optional(run, options, ids, rng)
    return run


def _label_names(options: RunOptions) -> list[str]:
    if options.n_classes == 2:
        return ["refund", "other"]
    names = ["permissive", "copyleft", "commercial", "public domain", "proprietary free"][: options.n_classes]
    names += [f"topic {i:02d} of the enquiry desk" for i in range(len(names), options.n_classes)]
    if options.hostile:
        names[0] = HOSTILE
    return names


def _predictions(rng: random.Random, ids: list[str], label: list[int], fold: list[int], n_classes: int) -> Predictions:
    logits = np.zeros((len(ids), n_classes))
    for i, truth in enumerate(label):
        for j in range(n_classes):
            logits[i, j] = 1.5 * math.sqrt(-2 * math.log(1 - rng.random())) * math.cos(2 * math.pi * rng.random())
        logits[i, truth] += 1.6 + 0.8 * math.log(n_classes)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(
        np.asarray(ids),
        np.zeros(len(ids), np.int64),
        np.asarray(fold, np.int64),
        np.asarray(label, np.int64),
        -np.log(probs[np.arange(len(ids)), label]),
        np.ones(len(ids)),
        logits,
    )


def _estimate(value: float, n: int, *, clip: bool = True) -> dict[str, Any]:
    half = 1.96 * math.sqrt(max(value * (1 - value), 0.01) / n)
    low, high = value - half, value + half
    return {
        "value": value,
        "low": max(low, 0.0) if clip else low,
        "high": min(high, 1.0) if clip else high,
        "level": 0.95,
        "interval": "cluster jackknife, t",
        "n": n,
        "per_fold": [],
    }


def _figures(table: Predictions, shift: float = 0.0) -> dict[str, Any]:
    assert table.logits is not None
    accuracy = float((table.logits.argmax(axis=1) == table.label).mean())
    values = {
        "accuracy": accuracy - shift,
        "macro_f1": accuracy - 0.02 - shift,
        "balanced_accuracy": accuracy - 0.01 - shift,
        "log_loss": float(table.loss.mean()) + shift,
        "auroc": 0.5 + accuracy / 2 - shift / 2,
        "ece": 0.04 + shift / 4,
    }
    return {name: _estimate(max(value, 0.01), len(table)) for name, value in values.items()}


def _metrics(table: Predictions, names: list[str], options: RunOptions, shut: bool) -> dict[str, Any]:
    oof, holdout = table.take(table.fold >= 0), table.take(table.fold < 0)
    assert oof.logits is not None
    c = len(names)
    confusion = np.zeros((c, c), int)
    for truth, guess in zip(oof.label.tolist(), oof.logits.argmax(axis=1).tolist(), strict=True):
        confusion[truth, guess] += 1
    per_class = []
    for j, name in enumerate(names):
        right, n, said = int(confusion[j, j]), int(confusion[j].sum()), int(confusion[:, j].sum())
        recall, precision = right / max(n, 1), right / max(said, 1)
        half = 1 / math.sqrt(max(n, 1)) * 0.9
        per_class.append(
            {
                "label": name,
                "n": n,
                "precision": precision if said else None,
                "recall": recall if n else None,
                "f1": 2 * right / max(n + said, 1),
                "recall_low": max(0.0, recall - half),
                "recall_high": min(1.0, recall + half),
            }
        )
    out_of_fold = _figures(oof)
    if options.bare:
        out_of_fold["auroc"] = {"value": None, "not_run": "class 'copyleft' is missing from fold 3"}
    baselines: dict[str, Any] = {}
    for name, shift in (("majority", 0.45), ("tfidf_logreg", 0.09), ("linear_probe", 0.04)):
        minus = {m: {"value": shift * (-1 if m in ("log_loss", "ece") else 1)} for m in METRICS}
        where: dict[str, Any] = {}
        for key, width in (("out_of_fold", 0.05), ("holdout", 0.08)):
            where[key] = {
                m: {
                    **v,
                    "low": v["value"] - width,
                    "high": v["value"] + width,
                    "level": 0.95,
                    "p_value": 0.0004 if shift > width else 0.21,
                }
                for m, v in minus.items()
            }
        baselines[name] = {
            **_figures(oof, shift),
            "holdout": None if shut else _figures(holdout, shift),
            "difference": {**where, "holdout": None if shut else where["holdout"]},
        }
    if options.bare:
        baselines = {"linear_probe": {"not_run": "the run was made with --no-baselines"}}
    slots = [f"fold {k}" for k in range(5)] + ["final"]
    curves: dict[str, Any] = {
        slot: [
            {
                "epoch": e,
                "train_loss": 1.1 * 0.62**e + 0.1 + 0.02 * s,
                "stop_accuracy": None if slot == "final" else 0.6 + 0.05 * e,
                "stop_loss": None if slot == "final" else 0.9 * 0.72**e + 0.22 + 0.03 * s + 0.012 * e * e,
            }
            for e in range(1, 6)
        ]
        for s, slot in enumerate(slots)
    }
    curves["best_epoch"] = {slot: 3 + (s % 2) for s, slot in enumerate(slots)}
    return {
        "label_names": names,
        "level": 0.95,
        "metric": "macro_f1",
        "out_of_fold": out_of_fold,
        "holdout": None if shut else _figures(holdout),
        "baselines": baselines,
        "calibration": {} if options.bare else _calibration(len(oof)),
        "per_class": per_class,
        "confusion": {"label_names": names, "counts": confusion.tolist()},
        "learning_curves": curves,
        "timings_s": {
            "check": 0.8,
            "trunk": 11.2,
            "train": 62.4,
            "out_of_fold": 4.1,
            "baselines": 6.3,
            "gate": 1.9,
            "report": 0.4,
        },
        "parameters": {"trained": 98_691, "base": 22_713_216, "frac": 98_691 / 22_713_216},
        "memory": {"peak_rss_bytes": 1_230_000_000, "trunk_cache_bytes": 94_000_000},
        "machine": "2-core x86-64, 24 GB, Linux",
        "versions": {"honed": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
    }


def _calibration(n: int) -> dict[str, Any]:
    def curve(gap: float) -> list[dict[str, Any]]:
        bins = []
        for low in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            share = round(n * (0.05 + (0.5 if low == 0.9 else 0.07)))
            right = max(0.0, low + 0.05 - gap)
            bins.append(
                {
                    "low": low,
                    "high": low + 0.1,
                    "n": share,
                    "confidence": low + 0.05,
                    "accuracy": right,
                    "accuracy_low": max(0.0, right - 0.9 / math.sqrt(share)),
                    "accuracy_high": min(1.0, right + 0.7 / math.sqrt(share)),
                }
            )
        return bins

    return {
        "temperature": 1.62,
        "per_fold": [{"repeat": 0, "fold": k, "temperature": 1.5 + 0.05 * k} for k in range(5)],
        "before": {"log_loss": _estimate(0.61, n, clip=False), "ece": _estimate(0.11, n)},
        "after": {"log_loss": _estimate(0.49, n, clip=False), "ece": _estimate(0.028, n)},
        "curve_before": curve(0.12),
        "curve_after": curve(0.01),
    }


def _config(options: RunOptions) -> dict[str, Any]:
    data = {"data": "data/licences.csv", "text": "text", "label": "category", "group": "licence"}
    method = {"base": "minilm", "method": "lora", "method_options": {"rank": 8, "alpha": 16}, "depth": 2}
    split = {"clean": "drop", "folds": 5, "holdout_frac": 0.15, "stop_frac": 0.1, "seed": options.seed}
    loop = {"epochs": 5, "batch_size": 16, "learning_rate": 1e-3, "head_learning_rate": 5e-3}
    return {**data, **method, "head": options.head, "max_tokens": 128, **split, **loop}


def _dataset(options: RunOptions, names: list[str], label: list[int]) -> dict[str, Any]:
    text = HOSTILE if options.hostile else " ".join(WORDS)
    checks: dict[str, Any] = {"counts": {"empty": 0, "exact_duplicate": 4, "near_duplicate": 9, "conflicting_label": 2}}
    checks |= {
        "truncation_frac": 0.062,
        "token_length": {"median": 41, "p95": 103, "max": 388},
        "preview": [{"example_id": "row-0001", "text": text, "decoded": "[CLS] " + text[:60] + " [SEP]"}],
    }
    note = "Rows are kept together by licence. Random folds would say .79 for TF-IDF, these say .65."
    return {
        "source": HOSTILE if options.hostile else "data/licences.csv",
        "n_rows": options.n_rows + 4,
        "n_used": options.n_rows,
        "fingerprint": "5f0c" * 16,
        "roles": {"text": "text", "label": "category", "group": "licence"},
        "label_names": names,
        "class_counts": {name: label.count(j) for j, name in enumerate(names)},
        "n_groups": 60,
        "checks": {} if options.bare else checks,
        "notes": [] if options.bare else [note],
    }


def _verdict(options: RunOptions, shut: bool) -> dict[str, Any]:
    if shut:
        return {
            "verdict": "INCONCLUSIVE",
            "reasons": ["The holdout is still locked (--no-gate)."],
            "holdout_openings": 0,
            "checks": [
                {"name": "holdout", "status": "not run", "detail": "not run, because --no-gate leaves it locked"}
            ],
        }
    reasons = {
        "PASS": "On the holdout it beats TF-IDF + logistic regression by 9.0 points of macro F1 (1.0 to 17.0).",
        "FAIL": "recall[refund] >= 0.8 is missed: 0.61, and even the upper end of its interval is 0.72.",
        "INCONCLUSIVE": "The difference to the linear probe may be zero; about 410 more rows would settle it.",
    }
    outcome = {"PASS": "met", "FAIL": "missed", "INCONCLUSIVE": "open"}[options.verdict]
    sentence = HOSTILE if options.hostile else reasons[options.verdict]
    checks = [
        {"kind": "baseline", "name": "tfidf_logreg", "outcome": outcome, "sentence": sentence},
        {
            "kind": "baseline",
            "name": "majority",
            "outcome": "met",
            "sentence": "Better than the baseline majority with confidence.",
        },
    ]
    told = [check["sentence"] for check in checks]
    return {"verdict": options.verdict, "reasons": told, "holdout_openings": 2, "checks": checks}


def _write_optional(run: Path, options: RunOptions, ids: list[str], rng: random.Random) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [
        " ".join(WORDS[int(len(WORDS) * rng.random())] for _ in range(10 + i % 120)).capitalize() + "."
        for i in range(len(ids))
    ]
    if options.hostile:
        texts = [HOSTILE.replace("\ud800", "") + f" {i} \nשלום עולם\n" + "a" * 400 for i in range(len(ids))]
    pq.write_table(pa.table({"example_id": ids, "text": texts}), run / "texts.parquet")
    kinds = ["exact_duplicate"] * 4 + ["near_duplicate"] * 9 + ["conflicting_label"] * 2
    acts = {"exact_duplicate": "group", "near_duplicate": "group", "conflicting_label": "review"}
    evidence = HOSTILE.replace("\ud800", "") if options.hostile else "same text as row 17"
    issues = [
        {
            "example_id": ids[i],
            "row": i,
            "check": kind,
            "score": 0.1,
            "is_issue": True,
            "action": acts[kind],
            "evidence": evidence,
        }
        for i, kind in enumerate(kinds)
    ]
    pq.write_table(pa.Table.from_pylist(issues), run / "issues.parquet")
    events = [
        {"time_s": 1.0, "kind": "stage.end", "message": "Checked", "stage": "check", "seconds": 0.8},
        {"time_s": 2.0, "kind": "slot.diverged", "message": "Fold 3 diverged at step 40; restarted more slowly."},
        {
            "time_s": 3.0,
            "kind": "warning",
            "message": HOSTILE if options.hostile else "Class 'proprietary free' has only 9 rows.",
        },
    ]
    with (run / "events.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def main() -> None:
    """Write a run folder with its report and card."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--verdict", default="PASS")
    parser.add_argument("--head", default="mean")
    for flag in ("--locked", "--hostile", "--bare"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    from honed.evidence.card import write_card
    from honed.evidence.report import write_report

    options = RunOptions(args.classes, args.rows, args.verdict, args.locked, args.hostile, args.bare, args.head)
    make_run(args.dir, options)
    print(write_report(args.dir), write_card(args.dir))


if __name__ == "__main__":
    main()
