"""Settings drawn from ranges by Optuna's quasi-random sampler.

Why not a sampler that learns (TPE, a Gaussian process)? It proposes where losses were low. Fed with the losses of all
folds it would be steered, in fold k, by rows that fold k is scored on: the stop parts of the other folds hold them. One
that learns in each fold apart would be honest, but then no setting is tried in all folds, and the final model could not
choose by all. A Sobol sequence depends on nothing but the seed, covers the ranges more evenly than random draws, and
all its settings can train in one stack (Bergstra and Bengio 2012, JMLR 13).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from honed.errors import ConfigError, UsageError
from honed.pipeline.trial_space import MAX_GRID, Axis, Choices, Range, grid

DEFAULT_N_TRIALS = 16
"""Drawn from ranges, if nothing is said; a power of two, where a Sobol sequence is balanced."""


def values_of(axes: Sequence[Axis], n_trials: int | None, seed: int) -> list[dict[str, Any]]:
    """The values of each setting, by option: the whole grid, or `n_trials` draws where it is too large or has ranges.

    Equal draws count once.    Raises ConfigError if a large grid says not how many, UsageError without Optuna.
    """
    choices = [axis for axis in axes if isinstance(axis, Choices)]
    if len(choices) == len(axes):
        n_grid = 1
        for axis in choices:
            n_grid *= len(axis.values)
        if n_grid <= (n_trials or MAX_GRID):
            return grid(choices)
        if n_trials is None:
            raise ConfigError(
                f"--trials names {n_grid} settings; at most {MAX_GRID} are tried without asking.",
                remedy=f"Draw some of them with `--n-trials {DEFAULT_N_TRIALS}`, or name fewer values.",
            )
    drawn = _sobol(axes, n_trials or DEFAULT_N_TRIALS, seed)
    return list({tuple(values.items()): values for values in drawn}.values())


def _sobol(axes: Sequence[Axis], n_trials: int, seed: int) -> list[dict[str, Any]]:
    try:
        import optuna
    except ImportError as error:
        raise UsageError(
            "Drawing trials from ranges needs Optuna, which is not installed.",
            remedy="`pip install 'honed[tune]'`, or name the values: `--trials 'learning_rate=1e-4,3e-4,1e-3'`.",
        ) from error
    space = {axis.name: _distribution(axis) for axis in axes}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
            study = optuna.create_study(sampler=sampler)
            # The sampler takes its space from the first trial of a study, and would draw that one apart.
            lows = {name: one.low for name, one in space.items()}
            study.add_trial(optuna.trial.create_trial(params=lows, distributions=space, value=0.0))
            draws = [study.ask(space).params for _ in range(n_trials)]
    finally:
        optuna.logging.set_verbosity(verbosity)
    return [{axis.name: _value(axis, draw[axis.name]) for axis in axes} for draw in draws]


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    if isinstance(axis, Choices):
        return IntDistribution(0, len(axis.values) - 1)
    if axis.is_whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.is_log)
    return FloatDistribution(axis.low, axis.high, log=axis.is_log)


def _value(axis: Axis, drawn: float) -> Any:
    if isinstance(axis, Choices):
        return axis.values[int(drawn)]
    return int(drawn) if axis.is_whole else _rounded(axis, drawn)


def _rounded(axis: Range, drawn: float) -> float:
    """Three digits are as many as anyone types again."""
    return min(max(float(f"{drawn:.3g}"), axis.low), axis.high)
