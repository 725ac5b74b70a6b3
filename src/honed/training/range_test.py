"""The learning-rate range test: one short run in which the rate rises, to see where the loss falls and where it breaks.

Each fold tests on its own training rows alone (the rows that it stops and is scored on are not looked at), and all
folds share the passes of one stack. Smith 2017, arXiv:1506.01186.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from honed.events import Emitter
from honed.training.loop import Loop, Rates, SlotPlan, SlotRun
from honed.training.schedule import epoch_batches

LOWEST, HIGHEST = 1e-6, 1.0
MIN_STEPS, MAX_STEPS = 24, 100
"""The test takes one epoch, but at least and at most so many steps."""
SMOOTHING = 0.8
"""Weight of the past in the moving average of the losses."""
BROKEN = 2.0
"""A smoothed loss of so many times the lowest ends the test."""
FALL = 0.03
"""The smoothed loss must fall by at least this share of its start, or the test says nothing."""
BACK_OFF = 10.0
"""The lowest loss stands where training is about to break; this many times less is a rate to train at."""


@dataclass(frozen=True)
class RangeTest:
    """One slot's test: rate and smoothed loss (nats) of each step, and the rate that follows; None if nothing does."""

    rate: list[float]
    loss: list[float]
    chosen: float | None

    def to_json(self) -> dict[str, Any]:
        """For a file; `RangeTest(**json)` reads it back."""
        return asdict(self)


def run_range_tests(loop: Loop, plans: Sequence[SlotPlan], head_ratio: float, emitter: Emitter) -> dict[str, RangeTest]:
    """The test of each plan, by its slot's name; the slots are at their start again afterwards.

    head_ratio : the head's rate over the adapter's.
    """
    silent = Loop(loop.stack, loop.trunk, loop.examples, loop.options, Emitter())
    rising = Rates(1.0, head_ratio, loop.options.weight_decay)
    runs = silent.start([replace(plan, rates=rising, is_trial=True) for plan in plans])
    waves = [runs] if loop.stack.is_shared else [[run] for run in runs]
    tests = {}
    for i, wave in enumerate(waves):
        for run, test in zip(wave, _rise(silent, wave, (i, len(waves)), emitter), strict=True):
            tests[run.plan.name] = test
            loop.stack.load_slot_state(run.plan.slot, run.start)
            run.optimizer.state.clear()
    return tests


def _rise(loop: Loop, runs: Sequence[SlotRun], wave: tuple[int, int], emitter: Emitter) -> list[RangeTest]:
    examples, options = loop.examples, loop.options
    batches = [
        batch
        for epoch in range(MIN_STEPS)  # each epoch has a batch at least
        for batch in epoch_batches(
            examples.rows, examples.stratum, examples.inputs.n_tokens, options.batch_rows,
            seed=options.seed, epoch=epoch,
        )
    ]  # fmt: skip
    per_epoch = len(batches) // MIN_STEPS
    n_steps = min(max(per_epoch, MIN_STEPS), MAX_STEPS)
    rates: dict[str, list[float]] = {run.plan.name: [] for run in runs}
    for i, batch in enumerate(batches[:n_steps]):
        rate = LOWEST * (HIGHEST / LOWEST) ** (i / (n_steps - 1))
        rising = [run for run in runs if run.status == "training"]
        loop.step(rising, batch, i, rate)
        for run in rising:
            if len(run.step_losses) > len(rates[run.plan.name]):
                rates[run.plan.name].append(rate)
            if _is_broken(run.step_losses):
                run.status = "diverged"
        done = wave[0] * n_steps + i + 1
        emitter.emit("progress", "range test", done=done, total=wave[1] * n_steps, unit="step", n_slots=len(rising))
    return [read_curve(rates[run.plan.name], run.step_losses) for run in runs]


def read_curve(rate: Sequence[float], loss: Sequence[float]) -> RangeTest:
    """The rate at the lowest smoothed loss, divided by `BACK_OFF` and rounded to 1 or 3 times a power of ten.

    rate, loss : of each step; the loss is the one before the step was made.
    None if the loss does not fall, or falls from the first step on.
    """
    finite = [one for one in loss if math.isfinite(one)]
    smoothed = smooth(finite)
    chosen = None
    if smoothed:
        at = min(range(len(smoothed)), key=lambda i: smoothed[i])
        start = statistics.fmean(finite[: max(1, len(finite) // 6)])
        if at > 0 and smoothed[at] <= (1 - FALL) * start:
            chosen = round_rate(rate[at] / BACK_OFF)
    return RangeTest([*rate[: len(finite)]], smoothed, chosen)


def smooth(loss: Sequence[float]) -> list[float]:
    """Exponential moving average, corrected for its start at zero."""
    average, result = 0.0, []
    for i, value in enumerate(loss):
        average = SMOOTHING * average + (1 - SMOOTHING) * value
        result.append(average / (1 - SMOOTHING ** (i + 1)))
    return result


def round_rate(rate: float) -> float:
    """The nearest of 1 and 3 times a power of ten: more the test cannot tell."""
    power = math.floor(math.log10(rate))
    near = [digit * 10.0**e for e in (power, power + 1) for digit in (1, 3)]
    best = min(near, key=lambda one: abs(math.log(one / rate)))
    return float(f"{best:.0e}")


def _is_broken(loss: Sequence[float]) -> bool:
    smoothed = smooth(loss)
    return bool(smoothed) and not smoothed[-1] <= BROKEN * min(smoothed)
