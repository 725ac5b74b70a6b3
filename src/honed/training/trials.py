"""Trials: settings that compete within each fold, judged by that fold's own stop part, with the losers ended early.

Fold k's winner is the trial with the lowest loss on fold k's stop part. The stop parts of the other folds, and the
models trained there, hold rows of fold k's test part: were they to choose, the test part would choose its own model.
So what is validated is the procedure, and the folds may well choose differently. The final model has no test part; its
setting is chosen by all folds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from honed.errors import TrainingError
from honed.events import Emitter
from honed.training.loop import SlotRun

KEEP = 2
"""One in so many trials goes on after each epoch (successive halving)."""


@dataclass(frozen=True)
class TrialSlot:
    """Setting `trial` in fold `fold`."""

    trial: int
    fold: int

    @property
    def name(self) -> str:
        """Of its slot."""
        return f"fold {self.fold}, trial {self.trial}"


@dataclass(frozen=True)
class TrialRecord:
    """How one trial went in one fold. status: done | dropped | diverged (training, while it lasts)."""

    trial: int
    fold: int
    status: str
    curve: list[dict[str, float | None]]

    @property
    def is_lost(self) -> bool:
        """Whether it diverged, so that nothing of it can be used."""
        return self.status == "diverged"

    @property
    def stop_losses(self) -> list[float]:
        """Loss (nats) on the fold's stop part after each epoch."""
        return [loss for row in self.curve if (loss := row["stop_loss"]) is not None]

    @property
    def stop_loss(self) -> float:
        """The lowest of them: that of the epoch which is kept. Infinite if it diverged."""
        return math.inf if self.is_lost else min(self.stop_losses)

    @property
    def best_epoch(self) -> int:
        """The first epoch with that loss."""
        return self.stop_losses.index(min(self.stop_losses))

    def loss_at(self, epoch: int) -> float | None:
        """The lowest stop loss up to and including `epoch`; None if it never got there, or diverged.

        A trial that stopped early has decided: its lowest loss stands for all later epochs.
        """
        n_epochs = len(self.stop_losses)
        if self.is_lost or not n_epochs or (n_epochs <= epoch and self.status != "done"):
            return None
        return min(self.stop_losses[: epoch + 1])

    def to_json(self) -> dict[str, Any]:
        """For a file; `TrialRecord(**json)` reads it back."""
        return asdict(self)


def record(slot: TrialSlot, run: SlotRun) -> TrialRecord:
    """What `run` has shown so far."""
    return TrialRecord(slot.trial, slot.fold, run.status, list(run.curve))


class Halving:
    """The referee: after each epoch the better half of a fold's trials goes on, with ties (successive halving).

    After epoch e (from 0), of n trials those go on whose lowest stop loss so far is among the best n / 2^(e+1). The n
    are all of their fold that have begun, also those that ran before them where not all share a stack; each is measured
    at the same epoch, so that none ends for having come late (as in ASHA). Trials that diverged count as losers.

    slots : which trial each slot is, by the slot's name.      past : trials that ran before.
    is_last : no other trials will follow.
    Jamieson and Talwalkar 2016, arXiv:1502.07943; Li et al. 2020, arXiv:1810.05934.
    """

    def __init__(
        self, slots: Mapping[str, TrialSlot], past: Sequence[TrialRecord], n_epochs: int, emitter: Emitter,
        *, is_last: bool,
    ) -> None:  # fmt: skip
        self.slots, self.past, self.n_epochs = slots, past, n_epochs
        self.emitter, self.is_last = emitter, is_last

    def __call__(self, runs: Sequence[SlotRun], epoch: int) -> list[SlotRun]:
        """The runs that go no further.

        Raises TrainingError if all trials of a fold diverged.
        """
        losers = []
        for fold in sorted({self.slots[run.plan.name].fold for run in runs}):
            own = [run for run in runs if self.slots[run.plan.name].fold == fold]
            rivals = [record(self.slots[run.plan.name], run) for run in own]
            rivals += [past for past in self.past if past.fold == fold]
            if self.is_last and all(rival.is_lost for rival in rivals):
                raise all_lost(fold, len(rivals))
            if epoch + 1 >= self.n_epochs:
                continue
            losses = sorted(loss for rival in rivals if (loss := rival.loss_at(epoch)) is not None)
            n_kept = math.ceil(len(rivals) / KEEP ** (epoch + 1))
            for run in own:
                loss = record(self.slots[run.plan.name], run).loss_at(epoch)
                if run.status == "training" and loss is not None and loss > losses[:n_kept][-1]:
                    losers.append(run)
                    self.emitter.emit(
                        "trial.dropped",
                        f"{run.plan.name} ended after epoch {epoch}: stop loss {loss:.3f}, the best {losses[0]:.3f}.",
                        slot=run.plan.name, epoch=epoch, stop_loss=loss, best_stop_loss=losses[0],
                    )  # fmt: skip
        return losers


def all_lost(fold: int, n_trials: int) -> TrainingError:
    """The error of a fold in which no trial is left."""
    return TrainingError(
        f"All {n_trials} trials diverged in fold {fold}.",
        cause="Their losses became infinite, or stayed far above where they began.",
        remedy="Try smaller rates, e.g. `--trials 'learning_rate=1e-5,1e-4'`, and a smaller --head-learning-rate.",
    )


def winner(records: Sequence[TrialRecord], fold: int) -> TrialRecord:
    """The trial of a fold with the lowest loss on its own stop part; of equal ones the first.

    Raises TrainingError if all diverged.
    """
    own = [one for one in records if one.fold == fold]
    living = [one for one in own if not one.is_lost]
    if not living:
        raise all_lost(fold, len(own))
    return min(living, key=lambda one: (one.stop_loss, one.trial))


@dataclass(frozen=True)
class FinalChoice:
    """The final model's setting, and the epoch it takes. mean_stop_loss : by trial, infinite where it diverged."""

    trial: int
    epoch: int
    mean_stop_loss: dict[int, float]


def choose_final(records: Sequence[TrialRecord]) -> FinalChoice:
    """The trial with the lowest mean over the folds of its stop loss; one that diverged anywhere only if all did.

    A trial that was ended early counts with the lowest loss that it had by then, which cannot win its fold. The epoch
    is the median over the folds of its best epoch; a fold in which it was ended early lends that of its winner.
    """
    trials = sorted({one.trial for one in records})
    folds = sorted({one.fold for one in records})
    by_trial = {t: [one for one in records if one.trial == t] for t in trials}
    mean = {t: statistics.fmean(one.stop_loss for one in own) for t, own in by_trial.items()}

    def rank(trial: int) -> tuple[int, float, int]:
        living = [one.stop_loss for one in by_trial[trial] if not one.is_lost]
        n_lost = len(by_trial[trial]) - len(living)
        return n_lost, statistics.fmean(living) if living else math.inf, trial

    chosen = min(trials, key=rank)
    whole = {one.fold: one for one in by_trial[chosen] if one.status == "done"}
    epochs = [(whole.get(fold) or winner(records, fold)).best_epoch for fold in folds]
    return FinalChoice(chosen, round(statistics.median(epochs)), mean)
