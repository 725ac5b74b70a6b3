"""May the maps be believed? Measured on some of the rows, judged by `evidence.attention_faith`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.errors import UsageError
from honed.events import Emitter
from honed.evidence.attention_faith import Curves, Faithfulness, faithfulness, rank_correlations
from honed.pipeline.attention_models import BASE, SPECIALIST, Pair
from honed.probes.measure import MAPS, RANDOM, Encoded, Maps, measure_curves, measure_gradients, measure_maps
from honed.probes.subject import redrawn

Floats = npt.NDArray[np.float64]
GRADIENTS = "integrated gradients"
N_CHECKED = 32
N_GRADIENTS = 16


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
        curves = _judged(measure_curves(pair.specialist, some, heat, target, emitter))
        base = {asked.drawn: maps[BASE].heat[asked.drawn][:n]}
        of_base = _judged(measure_curves(pair.base, some, base, maps[BASE].target[:n], emitter))
    with emitter.stage("randomisation", f"The same maps with weights drawn anew, in {n} rows"):
        with redrawn(pair.stack, asked.seed):
            random = measure_maps(pair.specialist, some, emitter, "random weights", target)
        survival = {name: correlations(heat[name], random.heat[name]) for name in MAPS}
    order = sorted(MAPS, key=lambda name: name != asked.drawn)
    verdicts = [faithfulness(name, group, curves[name], survival[name], level=asked.level) for name in order]
    verdicts.append(faithfulness(f"{asked.drawn} of the base", group, of_base[asked.drawn], None, level=asked.level))
    k = min(N_GRADIENTS, n)
    try:
        with emitter.stage("gradients", f"Integrated gradients of {k} rows"):
            few = encoded.take(range(k))
            found = measure_gradients(pair.specialist, few, target[:k], emitter)
            second = _judged(measure_curves(pair.specialist, few, {GRADIENTS: found}, target[:k], emitter))
        verdicts.append(faithfulness(GRADIENTS, group[:k], second[GRADIENTS], None, level=asked.level))
        notes.append(_agreement(asked.drawn, correlations(heat[asked.drawn][:k], found)))
    except UsageError as error:
        not_run[GRADIENTS] = f"not run, because {error}"
    return Checked(verdicts, notes, not_run)


def correlations(heat: Floats, other: Floats) -> Floats:
    """Spearman's correlation of two maps of each row, (n,). heat, other : (n, T), NaN outside the input."""
    width = min(heat.shape[1], other.shape[1])  # beyond the longest of these rows there is padding alone
    pairs = [(a[~np.isnan(a)], b[~np.isnan(a)]) for a, b in zip(heat[:, :width], other[:, :width], strict=True)]
    return np.array([rank_correlations(a[None, None], b[None, None])[0] for a, b in pairs])


def _judged(measured: dict[str, tuple[Floats, Floats]]) -> dict[str, Curves]:
    by_chance = measured[RANDOM]
    frac = np.linspace(0, 1, by_chance[0].shape[1])
    return {name: Curves(frac, *own, *by_chance) for name, own in measured.items() if name != RANDOM}


def _agreement(drawn: str, found: Floats) -> str:
    known = found[~np.isnan(found)]
    if not len(known):
        return "Integrated gradients gave no map that could be compared."
    return (
        f"A second opinion: integrated gradients, which know nothing of attention, order the same inputs as {drawn} "
        f"does with a mean rank correlation of {known.mean():.2f} ({len(known)} rows)."
    )
