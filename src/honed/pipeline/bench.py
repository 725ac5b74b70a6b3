"""The bench: the one stack that is open at a time, with its encoded rows and its trunk.

Settings that share a stack form a group. Opening another group closes the stack before: a large base is in memory once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from honed.bases import ResolvedBase
from honed.config import Config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.events import Emitter
from honed.methods.base import MethodOptions, get_method
from honed.pipeline.assembly import options_of, reading_of, slot_seed, stack_spec, training_options
from honed.pipeline.trial_space import Setting
from honed.training.build import build_stack, encode, make_trunk, row_weights, with_reference
from honed.training.loop import Examples, Loop, Referee
from honed.training.schedule import shared_batch_rows
from honed.training.stack import Inputs, Stack
from honed.training.trunk import TrunkCache

PER_SLOT = frozenset(("learning_rate", "head_learning_rate", "weight_decay"))
"""Fields of the configuration that may differ between the slots of one loop."""


@dataclass(frozen=True)
class TuningContext:
    """What a cross-validation needs.

    config : as the user gave it, before any trial.   part, plan : the development rows and their folds; no locked row.
    checkpoint : the folder of checkpoints, at most one every `every_s` seconds.     fingerprint : of config and data.
    spill : the file of a trunk that does not fit the memory.
    """

    base: ResolvedBase
    config: Config
    part: Dataset
    plan: FoldPlan
    emitter: Emitter
    checkpoint: Path
    spill: Path
    fingerprint: str
    every_s: float = 30.0


@dataclass(frozen=True)
class Group:
    """Settings that train in one stack.

    trials : their numbers.    configs : the configuration of each.    common : what they agree in.
    """

    common: str
    trials: tuple[int, ...]
    settings: tuple[Setting, ...]
    configs: tuple[Config, ...]

    @property
    def config(self) -> Config:
        """What they have in common stands in the first."""
        return self.configs[0]


def make_groups(config: Config, settings: Sequence[Setting]) -> list[Group]:
    """The settings by what a stack must have in common, in their order; one a group if the method does not stack."""
    found: dict[tuple[str, int], list[int]] = {}
    configs = [setting.apply(config) for setting in settings]
    for trial, own in enumerate(configs):
        is_shared = get_method(own.method).capabilities.stacks
        found.setdefault((_common(own), 0 if is_shared else trial), []).append(trial)
    return [
        Group(common, tuple(trials), tuple(settings[t] for t in trials), tuple(configs[t] for t in trials))
        for (common, _), trials in found.items()
    ]


def _common(config: Config) -> str:
    fields = config.model_dump(mode="json", exclude={*PER_SLOT, "method_options"})
    options = options_of(config).model_dump(mode="json", exclude=set(get_method(config.method).per_slot_options))
    return json.dumps([fields, options], sort_keys=True)


class Bench:
    """Opens the stack of one group at a time.

    Setting i of the group has the slots i * (folds + 1) to i * (folds + 1) + folds; the last one is the final model's.
    A slot's seed is that of its fold, so that a setting starts as it would alone.
    """

    def __init__(self, context: TuningContext) -> None:
        self.context = context
        self.group: Group | None = None
        self._stack: Stack | None = None
        self._inputs: Inputs | None = None
        self.trunk: TrunkCache | None = None
        self._read: tuple[Any, ...] = ()

    @property
    def stack(self) -> Stack:
        """The open one."""
        assert self._stack is not None, "open a group first"
        return self._stack

    @property
    def inputs(self) -> Inputs:
        """The development rows as the open stack reads them."""
        assert self._inputs is not None, "open a group first"
        return self._inputs

    def slot(self, index: int, fold: int | None) -> int:
        """The slot of a fold (None: of the final model) of the group's setting number `index`."""
        folds = self.context.plan.n_folds
        return index * (folds + 1) + (folds if fold is None else fold)

    def open(self, group: Group) -> None:
        """Load the base with the group's fresh slots, and compute its frozen layers, unless they are at hand."""
        n_slots = self.context.plan.n_folds + 1
        seeds = [slot_seed(group.config, fold) for _ in group.trials for fold in range(n_slots)]
        self._build(group.config, seeds, [options_of(own) for own in group.configs for _ in range(n_slots)])
        self.group = group

    def open_plain(self, config: Config, seeds: Sequence[int]) -> None:
        """The same with one slot a seed, all under `config`: for models that belong to no group."""
        self._build(config, seeds, [options_of(config)] * len(seeds))

    def _build(self, config: Config, seeds: Sequence[int], options: Sequence[MethodOptions]) -> None:
        context = self.context
        is_new = False
        self.group = self._stack = None  # the old stack goes before the new one comes
        with context.emitter.stage("load", f"Loading {context.base.name} and reading the rows"):
            self._stack = stack = build_stack(
                context.base, stack_spec(config, context.base, context.part.label_names), seeds, options
            )
            read = (reading_of(config, context.base) or config.max_tokens, config.precision, stack.cut)
            if self._inputs is None or read[0] != self._read[0] or (stack.task.has_reference and read != self._read):
                self._inputs, is_new = encode(stack, context.part.inputs), True
        if read != self._read:
            self.trunk = None
            context.spill.unlink(missing_ok=True)  # whoever still reads the old one keeps it
            with context.emitter.stage("trunk", f"Computing the {stack.cut} frozen layers once"):
                self.trunk = make_trunk(
                    stack, self.inputs, context.base.hidden_size, context.spill, config.cache_frac, context.emitter
                )
        if is_new and stack.task.has_reference:
            with context.emitter.stage("reference", "What the frozen base says of the same rows"):
                self._inputs = with_reference(stack, self.inputs, self.trunk)
        self._read = read

    def loop(self, index: int = 0, referee: Referee | None = None) -> Loop:
        """The loop of the open stack, with the rates of the group's setting number `index` where a slot has none."""
        assert self.group is not None, "open a group first"
        return self.plain_loop(self.group.configs[index], 1, referee)

    def plain_loop(self, config: Config, n_left_out: int, referee: Referee | None = None) -> Loop:
        """The loop of the open stack under `config`. n_left_out : folds on which a slot does not train."""
        context, folds = self.context, self.context.plan.n_folds
        options = training_options(config, shared_batch_rows(config.batch_size, folds, n_left_out))
        weight = row_weights(self.stack, self.inputs)
        rows = np.arange(len(context.part))
        examples = Examples(self.inputs, context.part.label, weight, context.plan.fold, rows)
        return Loop(self.stack, self.trunk, examples, options, context.emitter, referee)
