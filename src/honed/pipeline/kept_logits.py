"""Models that only judge: trained in the open stack, their logits kept beside the checkpoints, so that a killed run
goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from honed.config import Config
from honed.evidence.metrics import Floats, Ints
from honed.pipeline.bench import Bench
from honed.training.checkpoint import CheckpointFolder
from honed.training.loop import SlotPlan


@dataclass(frozen=True)
class Judges:
    """Models that train at once.

    name : of their files.    n_left_out : folds on which none of them trains, each its own.
    plans : of each.    tests : the rows of whose logits each is asked.
    """

    name: str
    n_left_out: int
    plans: Sequence[SlotPlan]
    tests: Sequence[Ints]


def logits_of(bench: Bench, config: Config, judges: Judges) -> list[Floats]:
    """Train the judges and return the logits (rows, c) of each, or those that are kept."""
    context = bench.context
    if (done := kept_logits(bench, judges.name)) is not None:
        return done
    loop = bench.plain_loop(config, judges.n_left_out)
    runs = loop.start(judges.plans)
    folder = context.checkpoint / judges.name
    checkpoint = CheckpointFolder(folder, bench.stack, context.fingerprint, context.every_s)
    loop.train(runs, checkpoint.restore(runs), checkpoint)
    logits = [loop.predict(plan.slot, test) for plan, test in zip(judges.plans, judges.tests, strict=True)]
    _write(_place(bench, judges.name), context.fingerprint, logits)
    shutil.rmtree(folder, ignore_errors=True)
    return logits


def kept_logits(bench: Bench, name: str) -> list[Floats] | None:
    """What was kept for this configuration and these data; None if there is nothing."""
    place = _place(bench, name)
    if not place.exists():
        return None
    try:
        with np.load(place, allow_pickle=False) as file:
            if str(file["mark"]) == bench.context.fingerprint:
                return [file[f"model_{i}"] for i in range(len(file.files) - 1)]
    except (OSError, ValueError, KeyError, BadZipFile):  # damaged: they are trained again
        return None
    return None


def _place(bench: Bench, name: str) -> Path:
    return bench.context.checkpoint / f"{name}.npz"


def _write(place: Path, mark: str, logits: Sequence[Floats]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    arrays: dict[str, npt.NDArray[Any]] = {f"model_{i}": own for i, own in enumerate(logits)} | {"mark": np.array(mark)}
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    partial.replace(place)
