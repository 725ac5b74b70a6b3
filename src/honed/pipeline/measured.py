"""`--layers`, `--image-size` and `--head measured`: chosen by linear probes of the frozen base, before the folds.

Every candidate is judged on the folds of the run, each development row by a probe that did not learn from it; the
locked rows are not among them. One pass of the base a size gives the features of all its layers. What a candidate costs
is the passes of a token through a layer that a row takes; beside them a head costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from honed.base_shape import used_layers
from honed.bases import ResolvedBase
from honed.config import Config, flag
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.errors import UsageError
from honed.events import Emitter
from honed.evidence.baselines import BaselineRows, out_of_fold_baseline
from honed.evidence.choice import RULE, Candidate, choose
from honed.pipeline.features import layer_features
from honed.pipeline.scoring import groups_of
from honed.pipeline.settle import AUTO_PATCHES, MEASURED, patch_of
from honed.pipeline.trial_space import parse_trials
from honed.tasks.base import get_task

LAYERS_FRAC: Final = (1 / 3, 1 / 2, 2 / 3, 5 / 6, 1)
"""Shares of the base's layers that are tried."""
SIZE_FACTORS: Final = (0.5, 1, 2)
"""Multiples of the automatic size that are tried, within `AUTO_PATCHES`."""


@dataclass(frozen=True)
class Measured:
    """What was chosen. fields : of the configuration.    table : the file `measured.json`."""

    fields: dict[str, Any]
    table: dict[str, Any]

    @property
    def note(self) -> str:
        """The choice and what it means, in a sentence."""
        said = ", ".join(f"{flag(name)} {value}" for name, value in self.fields.items())
        return (
            f"Chosen by measurement: {said}, of {len(self.table['candidates'])} candidates, by linear probes of the "
            "development rows. So the out-of-fold scores have seen this choice; the locked rows have not."
        )


def measured_fields(config: Config) -> tuple[str, ...]:
    """The fields that are to be measured.

    Raises ConfigError if `--trials` tries one of them, too.
    """
    wanted = tuple(name for name in MEASURED if getattr(config, name) == "measured")
    if wanted and config.trials:
        parse_trials(config.trials, config)
    return wanted


def before_measuring(config: Config) -> Config:
    """The configuration with the most that `measured` can become, so that faults are told before anything is read."""
    return config.model_copy(update={name: "all" if name == "layers" else "auto" for name in measured_fields(config)})


def candidates(config: Config, base: ResolvedBase, fields: Sequence[str]) -> dict[str, list[Any]]:
    """The values to try of each field; of a field that is not measured, the one that it has.

    config : settled. Raises UsageError for an image size to measure where there are no images, and for anything to
    measure where there are no classes.
    """
    task = get_task(config.task)
    if fields and (not task.has_classes or task.has_reference):
        raise UsageError(f"{flag(fields[0])} measured is for classes, which a probe can tell; there are none here.")
    grid: dict[str, list[Any]] = {
        "layers": [used_layers(config.layers, base.n_layers, base.name)],
        "image_size": [config.image_size],
        "head": [config.head],
    }
    if "layers" in fields:
        least = config.depth if isinstance(config.depth, int) else 1  # what is adapted must be there
        grid["layers"] = sorted({max(least, round(frac * base.n_layers)) for frac in LAYERS_FRAC})
    if "image_size" in fields:
        if not isinstance(config.image_size, int):
            raise UsageError("--image-size measured is for images; these rows are texts.", remedy="Leave it out.")
        patch = patch_of(base)
        sides = [np.clip(round(factor * config.image_size / patch), *AUTO_PATCHES) for factor in SIZE_FACTORS]
        grid["image_size"] = sorted({patch * int(side) for side in sides})
    if "head" in fields:
        grid["head"] = [head for head in task.heads if head != "native"]
    return grid


def measure(
    config: Config, base: ResolvedBase, fields: Sequence[str], part: Dataset, plan: FoldPlan, emitter: Emitter
) -> Measured:
    """The values of `fields` that the rule takes.

    config : settled, with what `auto` means in the place of `measured`.    part, plan : development rows alone.
    """
    grid = candidates(config, base, fields)
    splits = [(k, plan.split(k)) for k in range(plan.n_folds)]
    sides = [(k, np.concatenate([split.train, split.stop]), split.test) for k, split in splits]
    told = ", ".join(f"{flag(name)} {'|'.join(map(str, grid[name]))}" for name in fields)
    found: list[Candidate] = []
    group = None
    with emitter.stage("measure", f"Measuring by linear probes: {told}"):
        for size in grid["image_size"]:
            own = config.model_copy(update={"image_size": size, "views": 1, "average_views": False})
            features, n_tokens = layer_features(own, base, grid["layers"], grid["head"], part.inputs, emitter)
            for (layers, head), values in features.items():
                rows = BaselineRows(values, part.label, part.example_id, len(part.label_names))
                scored = out_of_fold_baseline("linear_probe", rows, sides, seed=plan.seed)
                group = groups_of(scored, plan) if group is None else group
                named = {"layers": layers, "image_size": size, "head": head}
                found.append(Candidate({name: named[name] for name in fields}, layers * n_tokens, scored.loss))
    assert group is not None, "a grid has candidates"
    chosen, rows_of = choose(found, group)
    table = {"rule": RULE, "fields": list(fields), "n_rows": len(part), "candidates": rows_of}
    result = Measured(dict(found[chosen].values), table)
    emitter.emit("measured", result.note, **result.fields)
    return result
