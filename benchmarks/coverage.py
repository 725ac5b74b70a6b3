"""Do the intervals cover what they promise, and do the tests raise false alarms as rarely as they promise?

    python benchmarks/coverage.py --json coverage.json [--rounds 1000] [--jobs 2]

Draws holdouts from populations whose truth is known (a sample of 400,000 rows stands for it), with and without
groups, and counts how often the nominal 90 % interval of each metric holds the truth, and how often two equally good
models are called different at 5 %. The tables of docs/statistics.md come from here.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from honed.evidence.comparison import paired_difference
from honed.evidence.intervals import estimate
from honed.evidence.metrics import METRICS, row_log_loss, softmax
from honed.oof import Predictions

LEVEL = 0.9
POPULATION = 400_000


@dataclass(frozen=True)
class Setting:
    """A population: `skew` makes class k as frequent as 1/k; `shared` is the share of the noise common to a group;
    `one_label` gives all rows of a group one label (as all snippets of a licence have one category)."""

    rows: int
    classes: int
    accuracy: float
    skew: bool = False
    group_rows: int = 1
    shared: float = 0.0
    one_label: bool = False


SETTINGS = (
    Setting(60, 2, 0.70),
    Setting(60, 2, 0.95, skew=True),
    Setting(60, 20, 0.80),
    Setting(100, 5, 0.90, skew=True),
    Setting(150, 3, 0.55),
    Setting(300, 2, 0.97),
    Setting(300, 5, 0.85),
    Setting(300, 20, 0.80),
    Setting(300, 20, 0.90, skew=True),
    Setting(1500, 20, 0.90, skew=True),
    Setting(1500, 5, 0.97),
    Setting(100, 3, 0.70, group_rows=5, shared=0.3, one_label=True),
    Setting(300, 5, 0.70, group_rows=5, shared=0.3, one_label=True),
    Setting(300, 5, 0.85, skew=True, group_rows=5, shared=0.5),
    Setting(1500, 6, 0.90, skew=True, group_rows=10, shared=0.5, one_label=True),
)


def prior(setting: Setting) -> np.ndarray:
    weight = 1 / np.arange(1, setting.classes + 1) if setting.skew else np.ones(setting.classes)
    return weight / weight.sum()


def draw(setting: Setting, rows: int, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """label (m,), logits (m, c), group (m,): class k's own logit is lifted by strength + an offset of the class."""
    group = np.arange(rows)
    if setting.group_rows > 1:
        group = np.repeat(group, 1 + rng.poisson(setting.group_rows - 1, rows))[:rows]
    label = rng.choice(setting.classes, p=prior(setting), size=rows)
    if setting.one_label:
        label = label[group]
    offset = np.random.default_rng(1).normal(size=setting.classes) * 0.4
    logits = rng.normal(size=(rows, setting.classes))
    own = np.arange(rows), label
    common = rng.normal(size=rows)[group]
    logits[own] = np.sqrt(1 - setting.shared) * logits[own] + np.sqrt(setting.shared) * common
    logits[own] += strength + offset[label]
    return label, 1.5 * logits, group


def find_strength(setting: Setting) -> float:
    low, high = -3.0, 9.0
    for _ in range(25):
        middle = (low + high) / 2
        label, logits, _ = draw(setting, 40_000, middle, np.random.default_rng(0))
        low, high = (middle, high) if (logits.argmax(1) == label).mean() < setting.accuracy else (low, middle)
    return low


def table(label: np.ndarray, logits: np.ndarray) -> Predictions:
    m = len(label)
    ids, zero = np.arange(m).astype(str), np.zeros(m, dtype=np.int64)
    return Predictions(ids, zero, zero - 1, label, row_log_loss(label, softmax(logits)), np.ones(m), logits)


def coverage(job: tuple[Setting, int]) -> dict[str, Any]:
    setting, rounds = job
    strength = find_strength(setting)
    label, logits, _ = draw(setting, POPULATION, strength, np.random.default_rng(9))
    truth = {name: metric.compute(label, softmax(logits)) for name, metric in METRICS.items()}
    missed = {name: [0, 0] for name in METRICS}
    rng = np.random.default_rng(3)
    for _ in range(rounds):
        label, logits, group = draw(setting, setting.rows, strength, rng)
        for name in METRICS:
            found = estimate(table(label, logits), group.astype(str), name, level=LEVEL)
            missed[name][0] += truth[name] < found.low
            missed[name][1] += truth[name] > found.high
    return {
        **asdict(setting),
        "rounds": rounds,
        "truth": {name: round(value, 4) for name, value in truth.items()},
        "coverage": {name: 1 - sum(sides) / rounds for name, sides in missed.items()},
        "truth_below": {name: sides[0] / rounds for name, sides in missed.items()},
        "truth_above": {name: sides[1] / rounds for name, sides in missed.items()},
    }


def false_alarms(job: tuple[Setting, int]) -> dict[str, Any]:
    """Two models that see the same rows with noise of their own: equally good, highly correlated."""
    setting, rounds = job
    strength = find_strength(setting)
    rng = np.random.default_rng(4)
    names = ("accuracy", "macro_f1", "log_loss", "auroc")
    alarms = dict.fromkeys(names, 0)
    for _ in range(rounds):
        label, logits, group = draw(setting, setting.rows, strength, rng)
        a, b = (table(label, logits + rng.normal(size=logits.shape)) for _ in range(2))
        for name in names:
            alarms[name] += paired_difference(a, b, group.astype(str), name).p_value < 0.05
    return {**asdict(setting), "rounds": rounds, "false_alarms": {name: n / rounds for name, n in alarms.items()}}


def markdown(rows: Iterable[dict[str, Any]], key: str) -> str:
    rows = list(rows)
    names = list(rows[0][key])
    lines = ["| holdout | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for row in rows:
        what = f"{row['rows']} rows, {row['classes']} classes, accuracy {row['accuracy']:.2f}"
        what += ", rare classes" if row["skew"] else ""
        what += f", groups of {row['group_rows']}" if row["group_rows"] > 1 else ""
        what += ", one label a group" if row["one_label"] else ""
        lines.append(f"| {what} | " + " | ".join(f"{row[key][name]:.3f}" for name in names) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    jobs = [(setting, options.rounds) for setting in SETTINGS]
    with ProcessPoolExecutor(options.jobs) as pool:
        covered = list(pool.map(coverage, jobs))
        alarmed = list(pool.map(false_alarms, jobs))
    print(f"Coverage of nominal {LEVEL:.0%} intervals\n\n{markdown(covered, 'coverage')}\n")
    print(f"Share of false alarms at 5 %\n\n{markdown(alarmed, 'false_alarms')}")
    shares = [row["coverage"][name] for row in covered for name in METRICS if name != "ece"]
    result = {
        "level": LEVEL,
        "rounds": options.rounds,
        "coverage_min": min(shares),
        "coverage_max": max(shares),
        "within_87_93_frac": float(np.mean([0.87 <= share <= 0.93 for share in shares])),
        "settings": covered,
        "false_alarms": alarmed,
        "machine": platform.platform(),
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
