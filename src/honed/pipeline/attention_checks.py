"""May the maps be believed? Measured on some of the rows, judged by `evidence.attention_faith`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.errors import UsageError
from honed.events import Emitter
from honed.evidence.attention_faith import Curves, Faithfulness, faithfulness, rank_correlations
from honed.pipeline.attention_models import BASE, SPECIALIST, Pair
from honed.probes.measure import MAPS, Encoded, Ints, Maps, measure_curves, measure_gradients, measure_maps
from honed.probes.subject import redrawn

Floats = npt.NDArray[np.float64]
GRADIENTS = "integrated gradients"
CHANCE = "order by chance"
N_CHECKED = 24
N_GRADIENTS = 12
N_DRAWS = 8
"""Of random weights: the map of a single draw may go along with any other map, or against it, by chance alone."""


@dataclass(frozen=True)
class Checked:
    """verdicts : of each map, the one that is drawn first.    notes : sentences.    not_run : check -> reason."""

    verdicts: list[Faithfulness]
    notes: list[str]
    not_run: dict[str, str]


@dataclass(frozen=True)
class Asked:
    """Of n rows: which group each belongs to, the map that is drawn, the seed, and the level of intervals."""

    group: npt.NDArray[np.str_]
    drawn: str
    seed: int
    level: float


def check_maps(pair: Pair, encoded: Encoded, maps: dict[str, Maps], asked: Asked, emitter: Emitter) -> Checked:
    """Deletion, insertion and randomisation of the specialist's maps; deletion and insertion of the base's.

    encoded, maps : of n rows, of which the first `N_CHECKED` are measured, `N_GRADIENTS` by integrated gradients.
    """
    n = min(N_CHECKED, len(encoded))
    some, own = encoded.take(range(n)), maps[SPECIALIST]
    target, group = own.target[:n], asked.group[:n]
    heat = {name: own.heat[name][:n] for name in MAPS}
    notes, not_run = [], {}
    with emitter.stage("faithfulness", f"Deleting and inserting what the maps call important, in {n} rows"):
        curves = measure_curves(pair.specialist, some, heat | {CHANCE: None}, target, emitter)
        base = {asked.drawn: maps[BASE].heat[asked.drawn][:n], CHANCE: None}
        of_base = measure_curves(pair.base, some, base, maps[BASE].target[:n], emitter)
    with emitter.stage("randomisation", f"The same maps with weights drawn anew, {N_DRAWS} times, in {n} rows"):
        survival = _survival(pair, some, heat, target, asked.seed, emitter)
    order = sorted(MAPS, key=lambda name: name != asked.drawn)
    verdicts = [
        faithfulness(name, group, _against_chance(curves, name), survival[name], level=asked.level) for name in order
    ]
    against = _against_chance(of_base, asked.drawn)
    verdicts.append(faithfulness(f"{asked.drawn} of the base", group, against, None, level=asked.level))
    k = min(N_GRADIENTS, n)
    try:
        with emitter.stage("gradients", f"Integrated gradients of {k} rows"):
            few = encoded.take(range(k))
            found = measure_gradients(pair.specialist, few, target[:k], emitter)
            second = measure_curves(pair.specialist, few, {GRADIENTS: found, CHANCE: None}, target[:k], emitter)
        against = _against_chance(second, GRADIENTS)
        verdicts.append(faithfulness(GRADIENTS, group[:k], against, None, level=asked.level))
        notes.append(_agreement(asked.drawn, correlations(heat[asked.drawn][:k], found)))
    except UsageError as error:
        not_run[GRADIENTS.capitalize()] = f"not run, because {error}"
    return Checked(verdicts, notes, not_run)


def correlations(heat: Floats, other: Floats) -> Floats:
    """Spearman's correlation of two maps of each row, (n,). heat, other : (n, T), NaN outside the input."""
    width = min(heat.shape[1], other.shape[1])  # beyond the longest of these rows there is padding alone
    pairs = [(a[~np.isnan(a)], b[~np.isnan(a)]) for a, b in zip(heat[:, :width], other[:, :width], strict=True)]
    return np.array([rank_correlations(a[None, None], b[None, None])[0] for a, b in pairs])


def _survival(
    pair: Pair, encoded: Encoded, heat: dict[str, Floats], target: Ints, seed: int, emitter: Emitter
) -> dict[str, Floats]:
    """How much of each map is left with random weights: the mean correlation over the draws, (n,) by map."""
    found: dict[str, list[Floats]] = {name: [] for name in heat}
    for draw in range(N_DRAWS):
        with redrawn(pair.stack, seed * N_DRAWS + draw):
            random = measure_maps(pair.specialist, encoded, emitter, f"random weights, draw {draw + 1}", target)
        for name, own in heat.items():
            found[name].append(correlations(own, random.heat[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a row without any map keeps NaN, as it should
        return {name: np.nanmean(own, axis=0) for name, own in found.items()}


def _against_chance(measured: dict[str, tuple[Floats, Floats]], name: str) -> Curves:
    return Curves(np.linspace(0, 1, measured[CHANCE][0].shape[1]), *measured[name], *measured[CHANCE])


def _agreement(drawn: str, found: Floats) -> str:
    known = found[~np.isnan(found)]
    if not len(known):
        return "Integrated gradients gave no map that could be compared."
    return (
        f"A second opinion: integrated gradients, which know nothing of attention, order the same inputs as {drawn} "
        f"does with a mean rank correlation of {known.mean():.2f} ({len(known)} rows)."
    )
