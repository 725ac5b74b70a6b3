"""Do the intervals of losses, replies, margins and forgetting cover, and how often does the gate err at its bounds?

    python benchmarks/coverage_language.py --json coverage_language.json [--rounds 1000]

Draws tables from populations whose truth is known (300,000 rows stand for it) and counts how often the nominal 90 %
interval holds it, and how often checks say "met" or "missed" where the truth is exactly their bound (at most 2.5 % each
at the gate's 95 %). The tables of docs/language-evidence.md come from here.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np

from honed.evidence.row_means import Rows, below_p_value, row_difference, row_estimate
from honed.evidence.selection_rule import holm

LEVEL = 0.9
POPULATION = 300_000
Draw = Callable[[np.random.Generator, int], Rows]


def names(n: int, size: int = 1) -> np.ndarray:
    return np.array([f"g{i // size}" for i in range(n)])


def reply_loss(rng: np.random.Generator, n: int) -> Rows:
    """Lognormal; hard replies are short; three rows of a group share half of the variance."""
    shared = np.repeat(rng.normal(0, 0.4, n // 3), 3)
    loss = np.exp(0.8 + shared + rng.normal(0, 0.4, n))
    return Rows("loss", loss, names(n, 3), 1.0 + rng.poisson(40 / loss))


def loss_change(rng: np.random.Generator, n: int) -> Rows:
    """A gain in proportion to the loss, with tails of Student's t with four degrees of freedom."""
    rows = reply_loss(rng, n)
    return Rows("difference", -0.1 * rows.value + 0.15 * rng.standard_t(4, n), rows.group, rows.weight)


def rouge(rng: np.random.Generator, n: int) -> Rows:
    """A fifth of the replies perfect, the others low."""
    return Rows("rouge_l", np.where(rng.random(n) < 0.2, 1.0, rng.beta(2, 5, n)), names(n))


def share(rng: np.random.Generator, n: int) -> Rows:
    """Harmful reply preferred in 8 % of the probes."""
    return Rows("share", (rng.random(n) < 0.08).astype(float), names(n))


def margin_change(rng: np.random.Generator, n: int) -> Rows:
    """Most probes hardly move, one in twenty falls far: what partial harm looks like."""
    far = rng.random(n) < 0.05
    return Rows("margin", np.where(far, rng.normal(-1.5, 0.5, n), rng.normal(-0.02, 0.15, n)), names(n))


def general_change(rng: np.random.Generator, n: int) -> Rows:
    """Losses of general rows drift by a tenth of a nat, more where they were high."""
    return Rows("forgetting", rng.lognormal(-2.5, 0.6, n) + rng.normal(0, 0.03, n), names(n), 20.0 + rng.poisson(60, n))


ESTIMATES: dict[str, tuple[Draw, float]] = {
    "loss": (reply_loss, np.inf),
    "rouge_l": (rouge, 1.0),
    "bad preferred": (share, 1.0),
}
DIFFERENCES: dict[str, Draw] = {
    "loss, paired": loss_change,
    "margin, paired": margin_change,
    "perplexity ratio": general_change,
}


def coverage(rounds: int) -> dict[str, dict[str, float]]:
    """Figure -> rows -> share of the intervals that hold the truth (of exp of it, for the ratio, it is the same)."""
    found: dict[str, dict[str, float]] = {}
    for name in (*ESTIMATES, *DIFFERENCES):
        draw = ESTIMATES[name][0] if name in ESTIMATES else DIFFERENCES[name]
        rng = np.random.default_rng(1)
        all_rows = draw(rng, POPULATION)
        truth = np.average(all_rows.value, weights=all_rows.weight)
        found[name] = {}
        for n in (30, 60, 240):
            hits = 0
            for _ in range(rounds):
                rows = draw(rng, n)
                if name in ESTIMATES:
                    one = row_estimate(rows, lowest=0.0, highest=ESTIMATES[name][1], level=LEVEL)
                    hits += one.low <= truth <= one.high
                else:
                    two = row_difference(rows, level=LEVEL)
                    hits += two.low <= truth <= two.high
            found[name][str(n)] = hits / rounds
    return found


def errors_at_the_bound(rounds: int) -> dict[str, dict[str, float]]:
    """The truth is exactly the bound: how often a check says met (a false pass) or missed (a false fail) at 95 %."""
    found: dict[str, dict[str, float]] = {}
    rng = np.random.default_rng(2)
    centre = margin_change(rng, POPULATION).value.mean()
    draws: dict[str, Callable[[int], np.ndarray]] = {
        "margin, even": lambda n: rng.normal(0, 0.3, n),
        "margin, few fall far": lambda n: margin_change(rng, n).value - centre,
    }
    for name, draw in draws.items():
        for n in (30, 60, 240):
            met = missed = 0
            for _ in range(rounds):
                two = row_difference(Rows(name, draw(n), names(n)), level=0.95)
                met, missed = met + (two.low > 0), missed + (two.high < 0)
            found[f"{name}, {n} probes"] = {"met": met / rounds, "missed": missed / rounds}
    # categories of ten probes, none changed beyond the bound: any alarm is false
    alarms = 0
    for _ in range(rounds):
        p_values = [below_p_value(Rows("category", rng.normal(0, 0.3, 10), names(10)), 0.0) for _ in range(24)]
        alarms += min(holm(p_values)) < 0.025
    found["24 categories of 10 probes"] = {"met": 1 - alarms / rounds, "missed": alarms / rounds}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    result = {
        "rounds": options.rounds,
        "level": LEVEL,
        "coverage": coverage(options.rounds),
        "errors_at_the_bound": errors_at_the_bound(options.rounds),
        "machine": platform.platform(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
