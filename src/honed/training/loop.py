"""The training loop: all slots at once over one frozen base, each with its own rows, optimizer and verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from honed.data.targets import Targets
from honed.errors import TrainingError
from honed.events import Emitter
from honed.training.schedule import epoch_batches, learning_rate_factor
from honed.training.stack import Inputs, Rows, Stack, token_batches
from honed.training.trunk import TrunkCache

RESTART_RATE = 0.25
"""A diverged slot is trained again at this share of its learning rates."""


@dataclass(frozen=True)
class Rates:
    """Peak learning rates and decoupled weight decay of AdamW."""

    learning_rate: float
    head_learning_rate: float
    weight_decay: float = 0.01


@dataclass(frozen=True)
class TrainingOptions:
    """How every slot trains: AdamW, linear warm-up and decay; `batch_rows` counts rows of the shared batch.

    balance : how far the frequencies of the classes are taken out of what is learned, 0 to 1. The loss is that of
        logits plus balance * log(frequency among the slot's training rows), so that the logits themselves need not say
        which class is frequent (logit-adjusted loss; Menon et al. 2021, equation 10).
    """

    epochs: int
    batch_rows: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float = 0.01
    warmup_frac: float = 0.1
    clip_norm: float = 1.0
    patience: int = 2
    seed: int = 0
    micro_batch_tokens: int = 8192
    balance: float = 0.0

    @property
    def rates(self) -> Rates:
        """The rates of a slot that has none of its own."""
        return Rates(self.learning_rate, self.head_learning_rate, self.weight_decay)


@dataclass(frozen=True)
class SlotPlan:
    """What one slot trains on.

    stop : the rows on which it decides when to stop; empty: it never stops early.    rates : its own, if it is a trial.
    targets : its own, where labels were cleaned or spoilt for it; else the examples' labels and weights.
    n_epochs : it ends after so many, if not all; its rates fall as if it went on.
    is_trial : it has rivals, so that it is lost if it diverges, and not trained again.
    """

    name: str
    slot: int
    train: Rows
    stop: Rows
    rates: Rates | None = None
    n_epochs: int | None = None
    is_trial: bool = False
    targets: Targets | None = None


@dataclass(frozen=True)
class Examples:
    """What training reads of the n examples; `rows` are those that any slot may train on.

    stratum : the fold of each example; each batch takes equal shares of every stratum.
    """

    inputs: Inputs
    label: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    stratum: npt.NDArray[np.int64]
    rows: Rows

    @property
    def targets(self) -> Targets:
        """What a slot is taught that has no targets of its own."""
        return Targets(self.label, self.weight)


@dataclass(frozen=True)
class Position:
    """Where training stands: `wave` counts the slots that train one after another (0 if they train together);
    `attempt` 1 trains the slots that diverged in attempt 0.
    """

    wave: int = 0
    attempt: int = 0
    epoch: int = 0
    batch: int = 0


@dataclass
class SlotRun:
    """The mutable state of one slot in training. status: training | diverged | done | dropped."""

    plan: SlotPlan
    optimizer: torch.optim.Optimizer
    start: dict[str, torch.Tensor]
    attempt: int = 0
    status: str = "training"
    step_losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float | None]] = field(default_factory=list)
    snapshots: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest loss on the stop part; the last one if there is no stop part; -1 at the start."""
        stop = [row["stop_loss"] for row in self.curve]
        if not stop or stop[-1] is None:
            return len(stop) - 1
        return min(range(len(stop)), key=lambda e: stop[e])  # type: ignore[arg-type,return-value]


Checkpoint = Callable[[Sequence[SlotRun], Position], None]
Referee = Callable[[Sequence[SlotRun], int], Sequence[SlotRun]]
"""Names, after the epoch of that number, the runs that go no further."""


class Loop:
    """Trains slots of a stack; afterwards each slot with a stop part holds its best state.

    A slot that diverges (a loss or gradient that is not finite, or a loss far above its start for many steps) is
    reported, taken out, and trained again from its start at a quarter of the rates; if it diverges again,
    TrainingError. It is never silently kept. A trial that diverges is reported and lost.

    Slots of a method that does not stack train one after another; the last one knows by then when the others stopped.
    referee : ends trials that have lost.
    """

    def __init__(
        self,
        stack: Stack,
        trunk: TrunkCache | None,
        examples: Examples,
        options: TrainingOptions,
        emitter: Emitter,
        referee: Referee | None = None,
    ) -> None:
        from accelerate import Accelerator

        self.referee = referee
        self.stack, self.trunk, self.examples, self.options, self.emitter = stack, trunk, examples, options, emitter
        self._inputs = examples.inputs
        self.accelerator = Accelerator(cpu=stack.device.type == "cpu")

    def start(self, plans: Sequence[SlotPlan]) -> list[SlotRun]:
        """Runs at step 0, with the stack's present parameters as their start."""
        return [SlotRun(plan, self._optimizer(plan), self.stack.slot_state(plan.slot)) for plan in plans]

    def train(
        self, runs: Sequence[SlotRun], position: Position | None = None, checkpoint: Checkpoint | None = None
    ) -> None:
        """Train `runs` from `position` to the end.

        Raises TrainingError if a slot diverges twice.
        """
        position = position or Position()
        waves = [list(runs)] if self.stack.is_shared else [[run] for run in runs]
        for wave in range(position.wave, len(waves)):
            for attempt in range(2):
                here = Position(wave, attempt)
                if (wave, attempt) == (position.wave, position.attempt):
                    here = position
                elif wave == position.wave and attempt < position.attempt:
                    continue
                active = [run for run in waves[wave] if run.attempt == attempt and run.status == "training"]
                if active:
                    self._attempt(active, runs, here, checkpoint)
                for run in waves[wave]:
                    if run.attempt == attempt and run.status == "diverged" and not run.plan.is_trial:
                        self._restart(run)
            if not self.stack.is_shared:
                waves[wave][0].optimizer.state.clear()  # memory for one slot's moments, not for all
        for run in runs:
            if run.plan.stop.size and run.status != "diverged":
                self.stack.load_slot_state(run.plan.slot, run.snapshots[run.best_epoch])

    def _rates(self, run: SlotRun) -> Rates:
        return run.plan.rates or self.options.rates

    def _optimizer(self, plan: SlotPlan) -> torch.optim.Optimizer:
        rates = plan.rates or self.options.rates
        groups = [
            {"params": list(self.stack.adapter_parameters(plan.slot).values()), "lr": rates.learning_rate},
            {"params": list(self.stack.head_parameters(plan.slot).values()), "lr": rates.head_learning_rate},
        ]
        return torch.optim.AdamW(groups, weight_decay=rates.weight_decay, foreach=True)

    def _restart(self, run: SlotRun) -> None:
        rates = self._rates(run)
        rate = rates.learning_rate
        if run.attempt:
            raise TrainingError(
                f"Slot {run.plan.name!r} diverged twice, at learning rates {rate:g} and {rate * RESTART_RATE:g}.",
                cause="Its loss became infinite, or stayed far above where it began.",
                remedy=f"Use smaller rates, e.g. `--learning-rate {rate / 10:g}` and "
                f"`--head-learning-rate {rates.head_learning_rate / 10:g}`.",
            )
        self.stack.load_slot_state(run.plan.slot, run.start)
        run.optimizer = self._optimizer(run.plan)
        run.attempt, run.status = 1, "training"
        run.step_losses, run.curve, run.snapshots = [], [], {}

    def _attempt(
        self, active: list[SlotRun], runs: Sequence[SlotRun], begin: Position, checkpoint: Checkpoint | None
    ) -> None:
        options, examples = self.options, self.examples
        # Over all runs, also those that were over before a resume or trained in an earlier wave.
        deciding = [run for run in runs if run.plan.stop.size]
        n_waves = 1 if self.stack.is_shared else len(runs)
        for epoch in range(begin.epoch, options.epochs):
            self._inputs = examples.inputs.drawn(options.seed, epoch)
            batches = epoch_batches(
                examples.rows, examples.stratum, examples.inputs.n_tokens, options.batch_rows,
                seed=options.seed, epoch=epoch,
            )  # fmt: skip
            total = len(batches) * options.epochs
            for j in range(begin.batch if epoch == begin.epoch else 0, len(batches)):
                training = [run for run in active if run.status == "training"]
                step = epoch * len(batches) + j
                self.step(training, batches[j], step, learning_rate_factor(step, total, options.warmup_frac))
                self.emitter.emit(
                    "progress", "training", done=begin.wave * total + step + 1,
                    total=n_waves * total, unit="step", n_slots=len(training), epoch=epoch,
                )  # fmt: skip
                if checkpoint and j + 1 < len(batches):
                    checkpoint(runs, Position(begin.wave, begin.attempt, epoch, j + 1))
            for run in active:
                if run.status == "training":
                    self._end_epoch(run, epoch, len(batches))
            for run in self.referee(runs, epoch) if self.referee else ():
                run.status = "dropped"
                run.optimizer.state.clear()
            if not any(run.status == "training" for run in active):
                break
            decided = all(run.status in {"done", "dropped"} for run in deciding)
            if deciding and decided and epoch + 1 >= max(len(run.curve) for run in deciding):
                break  # a slot without a stop part takes its epoch from the others, which have all decided
            if checkpoint and epoch + 1 < options.epochs:
                checkpoint(runs, Position(begin.wave, begin.attempt, epoch + 1))
        for run in active:
            if run.status == "training":
                run.status = "done"

    def step(self, runs: Sequence[SlotRun], batch: Rows, step: int, factor: float) -> None:
        """One optimizer step, at `factor` times its rates, of every slot that has rows in this batch."""
        self.stack.routing.step_seed = step + 1
        targets = {run.plan.slot: self._targets(run) for run in runs}
        own = {run.plan.slot: np.intersect1d(batch, run.plan.train) for run in runs}
        own = {slot: rows[targets[slot].weight[rows] > 0] for slot, rows in own.items()}
        share = {slot: targets[slot].weight[rows].sum() for slot, rows in own.items()}
        loss = {slot: 0.0 for slot, total in share.items() if total > 0}
        for chunk in self._micro_batches(batch, len(loss)):
            pairs = [(slot, rows) for slot in loss if len(rows := np.intersect1d(chunk, own[slot]))]
            if not pairs:
                continue
            label = np.concatenate([targets[slot].label[rows] for slot, rows in pairs])
            weight = np.concatenate([targets[slot].weight[rows] / share[slot] for slot, rows in pairs])
            logits = self.stack.logits(self._inputs, self.trunk, pairs)
            if self.options.balance:
                plans = {run.plan.slot: run for run in runs}
                shifts = [self._shift(plans[slot], logits.shape[1]).expand(len(rows), -1) for slot, rows in pairs]
                logits = logits + torch.cat(shifts).to(logits)
            row_loss = self.stack.task.loss(logits, torch.from_numpy(label).to(logits.device))
            weighted = row_loss * torch.from_numpy(weight).to(row_loss)
            self.accelerator.backward(weighted.sum())
            for (slot, _), part in zip(pairs, weighted.detach().split([len(r) for _, r in pairs]), strict=True):
                loss[slot] += float(part.sum())
        self.stack.routing.step_seed = None
        for run in runs:
            if run.plan.slot in loss:
                self._update(run, loss[run.plan.slot], factor)

    def _micro_batches(self, batch: Rows, n_slots: int) -> Iterator[Rows]:
        """Parts of the batch of similar length, small enough that one pass of all slots fits the processor's cache."""
        n_tokens = self.examples.inputs.n_tokens
        budget = max(1, self.options.micro_batch_tokens // max(1, n_slots * self.examples.inputs.n_parts))
        order = batch[np.argsort(n_tokens[batch], kind="stable")]
        yield from token_batches(order, n_tokens, budget)

    def _update(self, run: SlotRun, loss: float, factor: float) -> None:
        own = self._rates(run)
        rates = (own.learning_rate, own.head_learning_rate)
        parameters = []
        for group, rate in zip(run.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor * (RESTART_RATE if run.attempt else 1.0)
            parameters += group["params"]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.options.clip_norm))
        run.step_losses.append(loss)
        if not (math.isfinite(loss) and math.isfinite(norm)) or _is_spiking(run.step_losses):
            self._report_divergence(run, loss)
        else:
            run.optimizer.step()
        run.optimizer.zero_grad()

    def _report_divergence(self, run: SlotRun, loss: float) -> None:
        run.status = "diverged"
        last = "the trial is lost." if run.plan.is_trial else "giving up."
        again = "it will be trained again at a quarter of the rate."
        self.emitter.emit(
            "slot.diverged",
            f"{run.plan.name} diverged at step {len(run.step_losses)} (loss {loss:.3g}); "
            + (last if run.attempt or run.plan.is_trial else again),
            slot=run.plan.name, step=len(run.step_losses), loss=loss if math.isfinite(loss) else None,
        )  # fmt: skip

    def _end_epoch(self, run: SlotRun, epoch: int, n_batches: int) -> None:
        stop_loss = self._stop_loss(run) if run.plan.stop.size else None
        train_loss = float(np.mean(run.step_losses[-n_batches:]))
        run.curve.append({"epoch": epoch, "train_loss": train_loss, "stop_loss": stop_loss})
        if stop_loss is not None and not math.isfinite(stop_loss):
            self._report_divergence(run, stop_loss)
            return
        if run.best_epoch == epoch:
            if run.plan.stop.size:
                run.snapshots.clear()
            run.snapshots[epoch] = self.stack.slot_state(run.plan.slot)
        elif epoch - run.best_epoch >= self.options.patience:
            run.status = "done"
        if epoch + 1 == run.plan.n_epochs:
            run.status = "done"

    def predict(self, slot: int, rows: Rows) -> npt.NDArray[np.float64]:
        """Logits (rows, c) of one slot, in the order of `rows`."""
        return predict(self.stack, self.examples.inputs, self.trunk, slot, rows)

    def _stop_loss(self, run: SlotRun) -> float:
        """Weighted mean loss (nats) on the stop part, of which at least one row must weigh something."""
        targets, rows = self._targets(run), run.plan.stop
        logits = self.predict(run.plan.slot, rows)
        if self.options.balance:
            logits = logits + self._shift(run, logits.shape[1]).numpy()
        loss = self.stack.task.loss(torch.from_numpy(logits), torch.from_numpy(targets.label[rows])).numpy()
        return float(np.average(loss, weights=targets.weight[rows]))

    def _shift(self, run: SlotRun, n_classes: int) -> torch.Tensor:
        """balance * log(frequency of each class among the slot's training rows): (c,); half a row more for each."""
        targets, rows = self._targets(run), run.plan.train
        count = 0.5 + np.bincount(targets.label[rows], weights=targets.weight[rows], minlength=n_classes)
        return torch.from_numpy(self.options.balance * np.log(count / count.sum()))

    def _targets(self, run: SlotRun) -> Targets:
        return run.plan.targets or self.examples.targets


def predict(
    stack: Stack, inputs: Inputs, trunk: TrunkCache | None, slot: int | None, rows: Rows, batch_tokens: int = 8192
) -> npt.NDArray[np.float64]:
    """Logits (rows, c) of one slot, in the order of `rows`; of several views, the log of their mean probabilities."""
    if inputs.n_averaged == 1:
        return _predict(stack, inputs, trunk, slot, rows, batch_tokens)
    views = [_predict(stack, inputs.seen(v), trunk, slot, rows, batch_tokens) for v in range(inputs.n_averaged)]
    return np.asarray(np.logaddexp.reduce([log_softmax(logits) for logits in views]) - math.log(len(views)))


def log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logarithms of the probabilities. logits: (rows, c)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _predict(
    stack: Stack, inputs: Inputs, trunk: TrunkCache | None, slot: int | None, rows: Rows, batch_tokens: int
) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] | None = None
    order = np.argsort(inputs.n_tokens[rows], kind="stable")
    with torch.inference_mode():
        for at in token_batches(order, inputs.n_tokens[rows], batch_tokens // inputs.n_parts):
            logits = stack.logits(inputs, trunk, [(slot, rows[at])]).double().cpu().numpy()
            if result is None:
                result = np.empty((len(rows), logits.shape[1]))
            result[at] = logits
    assert result is not None, "predict needs at least one row"
    return result


def _is_spiking(losses: list[float]) -> bool:
    """Whether the last 20 losses lie far above the first 5: twice, and a nat more."""
    return len(losses) >= 25 and float(np.mean(losses[-20:])) > 2 * float(np.mean(losses[:5])) + 1
