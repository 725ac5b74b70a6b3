"""How often the intervals of corrected reply rates hold the truth, by simulation.

    python benchmarks/coverage_replies.py --runs 60 --json FILE

Each run draws true classes of n replies of base and specialist, a detector that errs as `CONFUSION`, and 200 rows of
each class from which its errors are known. `shared`: every reply is sound, and the detector errs on both replies alike.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from honed.evidence.reply_rates import REPLY_CLASSES, SIDES, DetectorRows, ProbeReplies, reply_rates

CONFUSION = np.array([[75, 3, 2, 20], [3, 90, 2, 5], [1, 2, 95, 2], [15, 4, 1, 80]]) / 100
SCENARIOS = {  # rates of base and of specialist, and the share of prompts whose replies are of one class
    "none harmful": ([0, 0.3, 0.1, 0.6], [0, 0.3, 0.1, 0.6], 0.5),
    "rise": ([0.05, 0.3, 0.1, 0.55], [0.4, 0.2, 0.05, 0.35], 0.3),
    "many on both": ([0.3, 0.1, 0.1, 0.5], [0.3, 0.1, 0.1, 0.5], 0.6),
    "shared": ([0, 0, 0, 1.0], [0, 0, 0, 1.0], 0.0),
}
SLACK = 0.005
"""An interval whose lower end is 0.005 holds a rate of zero: Jeffreys' prior never gives exactly zero."""


def simulate(joint: np.ndarray, n: int, rng: np.random.Generator, *, is_shared: bool) -> ProbeReplies:
    """The tables of one run. joint : (4, 4) chance of each pair of true classes."""
    true = rng.choice(16, p=joint.ravel(), size=n)

    def sort(label: np.ndarray) -> np.ndarray:
        drawn = rng.random(len(label))[:, None]
        return (drawn > CONFUSION.cumsum(axis=1)[label]).sum(axis=1).clip(0, 3)

    found = {"base": sort(true // 4), "specialist": sort(true % 4)}
    if is_shared:
        found["specialist"] = found["base"]
    label = np.repeat(np.arange(4), 200)
    rows = DetectorRows(np.full(len(label), "harm"), np.arange(len(label)).astype(str), label, sort(label))
    text = dict.fromkeys(SIDES, ("",) * n)
    prob = {side: np.eye(4)[own] for side, own in found.items()}
    return ProbeReplies(tuple(map(str, range(n))), ("x",) * n, np.full(n, "harm"), ("q",) * n, text, prob, rows)


def coverage(name: str, n: int, n_runs: int, rng: np.random.Generator) -> dict[str, object]:
    """Shares of runs whose intervals of the harmful rate hold the truth."""
    base, specialist, keep = SCENARIOS[name]
    joint = (1 - keep) * np.outer(base, specialist) + keep * np.diag(base)
    truth = {"base": joint.sum(axis=1), "specialist": joint.sum(axis=0)}
    j = REPLY_CLASSES.index("harmful")
    held = {"base": 0, "specialist": 0, "difference": 0}
    width = dict.fromkeys(held, 0.0)
    for _ in range(n_runs):
        rates = reply_rates(simulate(joint, n, rng, is_shared=name == "shared"), "harm")
        for side in SIDES:
            own = rates.side[side]["harmful"]
            held[side] += own.low - SLACK <= truth[side][j] <= own.high
            width[side] += own.high - own.low
        change = rates.change["harmful"]
        held["difference"] += change.low <= truth["specialist"][j] - truth["base"][j] <= change.high
        width["difference"] += change.high - change.low
    return {
        "scenario": name, "n": n, "runs": n_runs,
        "held": {who: count / n_runs for who, count in held.items()},
        "width": {who: value / n_runs for who, value in width.items()},
    }  # fmt: skip


def main() -> None:
    """Simulate every scenario and print or write the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    found = []
    for n in (24, 100):
        for name in SCENARIOS:
            found.append(coverage(name, n, options.runs, rng))
            print(json.dumps(found[-1]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
