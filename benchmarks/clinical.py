"""Do the intervals of the clinical reading cover, and is its operating point judged fairly?

    python benchmarks/clinical.py --json clinical.json [--rounds 400] [--jobs 2]

Draws patients, a specialist and a second reader whose truth is known (200,000 rows stand for it) and counts how often
the nominal 90 % intervals hold the truth. Then chooses operating points on small out-of-fold tables and compares what
these say of themselves with what is true. The tables of docs/clinical.md come from here.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from honed.evidence.clinical import Point, Reading, read_holdout, read_out_of_fold
from honed.evidence.metrics import row_log_loss, softmax
from honed.evidence.roc import GRID
from honed.oof import Predictions

LEVEL, POPULATION, PREVALENCE = 0.9, 200_000, 0.02
SCORES = ("sensitivity", "specificity", "ppv", "npv", "auroc", "roc", "error_ratio", "kappa")


@dataclass(frozen=True)
class Setting:
    """`apart`: standard deviations between ill and healthy; `reader_error`: share of rows that the reader gets wrong;
    `group_rows`: rows of a group, whose noise is shared by three tenths and which are all ill or all healthy."""

    rows: int
    ill_frac: float
    apart: float
    reader_error: float
    group_rows: int = 1


SETTINGS = (
    Setting(100, 0.3, 2.0, 0.2),
    Setting(200, 0.3, 3.5, 0.16),
    Setting(200, 0.1, 2.5, 0.1),
    Setting(1000, 0.05, 2.0, 0.2),
    Setting(400, 0.3, 2.0, 0.2, group_rows=5),
)


def draw(setting: Setting, rows: int, rng: np.random.Generator) -> tuple[Predictions, np.ndarray, np.ndarray]:
    """The table, its groups, and the reader's classes: the reader errs more where the specialist does."""
    group = np.arange(rows) // setting.group_rows
    label = (rng.random(rows) < setting.ill_frac)[group].astype(np.int64)
    shared = 0.3 if setting.group_rows > 1 else 0.0
    noise = math.sqrt(shared) * rng.normal(size=rows)[group] + math.sqrt(1 - shared) * rng.normal(size=rows)
    logits = np.stack([np.zeros(rows), noise + setting.apart * (label - 0.5)], axis=1)
    hard = 0.5 * np.where(label == 1, -noise, noise) + math.sqrt(0.75) * rng.normal(size=rows)
    reader = np.where(hard > norm.isf(setting.reader_error), 1 - label, label)
    fold = group % 5
    ids, zero = np.arange(rows).astype(str), np.zeros(rows, dtype=np.int64)
    table = Predictions(ids, zero, fold, label, row_log_loss(label, softmax(logits)), np.ones(rows), logits)
    return table, group.astype(str), reader


def figures(setting: Setting, rows: int, rng: np.random.Generator) -> dict[str, Any]:
    table, group, reader = draw(setting, rows, rng)
    holdout = Predictions(**{**vars(table), "fold": np.full(rows, -1)})
    reading = Reading((1,), LEVEL, prevalence=PREVALENCE)
    found = read_holdout(holdout, group, reading, Point(0.5, PREVALENCE), 1.0, reader)
    against = found["reader"]["at_point"]
    return found | {"error_ratio": against["error_ratio"], "kappa": against["specialist"]["kappa"]}


def coverage(job: tuple[Setting, int]) -> dict[str, Any]:
    setting, rounds = job
    from honed.evidence import roc

    n_draws, roc.N_DRAWS = roc.N_DRAWS, 1
    truth = figures(setting, POPULATION, np.random.default_rng(9))
    roc.N_DRAWS = n_draws
    rng, hits, inside = np.random.default_rng(3), dict.fromkeys(SCORES, 0), np.zeros(len(GRID))
    for _ in range(rounds):
        found = figures(setting, setting.rows, rng)
        inside += holds(found["roc"], np.array(truth["roc"]["sensitivity"]))
        for name in SCORES:
            if name != "roc":
                hits[name] += found[name]["value"] is None or bool(holds(found[name], truth[name]["value"]))
    covered = {name: n / rounds for name, n in hits.items()} | {"roc": float(inside[5:91].mean() / rounds)}
    return asdict(setting) | {"rounds": rounds, "ratio": truth["error_ratio"]["value"], "coverage": covered}


def holds(found: dict[str, Any], truth: Any) -> Any:
    high = math.inf if found["high"] is None else np.array(found["high"])
    return (np.array(found["low"]) <= truth) & (truth <= high)


def optimism(job: tuple[int, int]) -> dict[str, float]:
    """Sensitivity + specificity - 1 of a point: on its own rows, cross-fitted, and in truth."""
    rows, rounds = job
    from honed.evidence import roc

    roc.N_DRAWS = 1
    setting, rng = Setting(rows, 0.3, 1.0, 0.2), np.random.default_rng(5)
    fresh, _, _ = draw(setting, POPULATION // 2, rng)
    found: dict[str, list[float]] = {"own_rows": [], "cross_fitted": [], "truth": []}
    for _ in range(rounds):
        table, group, _ = draw(setting, rows, rng)
        point, clinical = read_out_of_fold(table, group, Reading((1,)), {}, 1.0)
        found["cross_fitted"].append(clinical["sensitivity"]["value"] + clinical["specificity"]["value"] - 1)
        for name, part in (("own_rows", table), ("truth", fresh)):
            called = softmax(part.logits)[:, 1] >= point.threshold
            found[name].append(float(called[part.label == 1].mean() - called[part.label == 0].mean()))
    return {"rows": rows} | {name: float(np.mean(values)) for name, values in found.items()}


def markdown(rows: Iterable[dict[str, Any]]) -> str:
    lines = ["| holdout | " + " | ".join(SCORES) + " |", "|---|" + "---|" * len(SCORES)]
    for row in rows:
        what = f"{row['rows']} rows, {row['ill_frac']:.0%} ill, error ratio {row['ratio']:.2f}"
        what += f", groups of {row['group_rows']}" if row["group_rows"] > 1 else ""
        lines.append(f"| {what} | " + " | ".join(f"{row['coverage'][name]:.3f}" for name in SCORES) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        covered = list(pool.map(coverage, [(setting, options.rounds) for setting in SETTINGS]))
        points = list(pool.map(optimism, [(rows, options.rounds) for rows in (50, 100, 400)]))
    print(f"Coverage of nominal {LEVEL:.0%} intervals\n\n{markdown(covered)}\n")
    print("| rows | on its own rows | cross-fitted | in truth |\n|---|---|---|---|")
    for row in points:
        print(f"| {row['rows']} | {row['own_rows']:.3f} | {row['cross_fitted']:.3f} | {row['truth']:.3f} |")
    result = {
        "level": LEVEL,
        "settings": covered,
        "operating_point": points,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
