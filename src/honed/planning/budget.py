"""A parameter budget: the method, its settings and the depth that train no more weights than the user allows."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from honed.errors import UsageError
from honed.methods.base import Method, discover, get_method
from honed.planning.shapes import BaseShape
from honed.planning.sizes import Sizes
from honed.training.layers import resolve_depth

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_FLAG = "--parameters"


@dataclass(frozen=True)
class Budget:
    """Weights that one adapter may train. text : as the user wrote it.    is_frac : `value` is a share of the base."""

    text: str
    value: Fraction
    is_frac: bool

    def weights(self, n_base: int) -> int:
        """Whole weights, for a base of `n_base`."""
        return int(self.value * n_base) if self.is_frac else int(self.value)


@dataclass(frozen=True)
class Size:
    """One way to adapt a base. n_parameters : of the adapter of one slot, its head not counted."""

    method: str
    settings: Mapping[str, Any]
    depth: int
    n_parameters: int

    def told(self, n_layers: int) -> str:
        """In words, for a base of `n_layers`."""
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        layers = f"the top {self.depth} of {n_layers} layers" if self.depth > 1 else f"the top layer of {n_layers}"
        where = f"all {n_layers} layers" if self.depth == n_layers else layers
        return f"{self.method}{f' ({settings})' if settings else ''} in {where}"


@dataclass(frozen=True)
class Choice:
    """What a budget bought. n_parameters : of the adapter; the head is not counted.    why : for the user."""

    method: str
    method_options: dict[str, Any]
    depth: int
    n_parameters: int
    budget: int
    n_base: int
    why: str


def parse_parameters(text: str) -> Budget:
    """`3e-4` or `0.03%` is a share of the base; `50k`, `1.5M`, `2B` or `30000` is a number of weights.

    Raises UsageError if it is neither.
    """
    match = re.fullmatch(r"(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d{1,3})?\s*([kmb%]?)", text.strip().lower())
    if match is None:
        raise UsageError(
            f"{_FLAG} {text} is not a positive number.",
            remedy="Name a share of the base (3e-4, 0.03%) or a number of weights (50k, 1.5M, 30000).",
        )
    number, unit = Fraction((match[1] + (match[2] or "")).replace("_", "")), match[3]
    if number == 0:
        raise UsageError(f"{_FLAG} {text} leaves nothing to train.", remedy="Name a number above zero.")
    if unit == "%" or (not unit and number < 1):
        return Budget(text.strip(), number / 100 if unit else number, is_frac=True)
    weights = number * _UNITS[unit]
    if weights.denominator != 1 or (weights == 1 and text.strip() != "1"):
        raise UsageError(
            f"{_FLAG} {text} is neither a share of the base (below 1) nor a whole number of weights.",
            remedy="Write a share from 1 on in per cent: 100%.",
        )
    return Budget(text.strip(), weights, is_frac=False)


def choose(
    base: BaseShape, budget: Budget, *, method: str | None = None, options: Mapping[str, Any] | None = None,
    depth: int | str = "auto",
) -> Choice:  # fmt: skip
    """The preferred method of which some size fits, in the largest size that fits; within `method` if one is named.

    options : of `method`, beside those that the budget decides.
    depth : auto may become less for a small budget (and more, for a method whose only size is its depth).

    Raises UsageError if nothing fits, or if the budget decides one of the options.
    """
    if options and method is None:
        raise UsageError(
            f"--option {next(iter(options))} needs a method when {_FLAG} chooses one.", remedy="Name it with --method."
        )
    sizes = Sizes(base)
    limit = budget.weights(sizes.n_base)
    ordered = sorted(discover().values(), key=lambda each: (each.preference, each.name))
    too_large: list[Size] = []
    faults: list[UsageError] = []
    for each in [get_method(method)] if method else ordered:
        try:
            ladder = _Ladder(each, sizes, options or {}, depth)
            found = ladder.largest(limit)
        except UsageError as error:  # this base has nothing that the method could adapt
            faults.append(error)
            continue
        too_large += [ladder.size(found - 1)] if found else []
        if found < len(ladder):
            best = ladder.size(found)
            settings = {**(options or {}), **best.settings}
            why = _why(budget, limit, sizes, best, too_large)
            return Choice(best.method, settings, best.depth, best.n_parameters, limit, sizes.n_base, why)
    if not too_large:
        raise faults[0]
    smallest = min(too_large, key=lambda size: size.n_parameters)
    freed = [
        f"{flag} {value}" for flag, value in (("--method", method), ("--depth", depth)) if value not in (None, "auto")
    ]
    raise UsageError(
        f"{_FLAG} {budget.text} allows {_weights(limit)} of {sizes.n_base:,}, and nothing is that small.",
        cause=f"The smallest that {f'method {method!r}' if method else 'any method'} can train here is "
        f"{_weights(smallest.n_parameters)}: {smallest.told(base.n_layers)}.",
        remedy=f"Use {_FLAG} {smallest.n_parameters} or more"
        + "".join(f", or leave out {each}" for each in freed)
        + ".",
    )


class _Ladder:
    """The sizes of one method, from the largest: its settings at the full depth, then the last of them in fewer layers.

    Raises UsageError if the budget decides an option that the user set.
    """

    def __init__(self, method: Method, sizes: Sizes, options: Mapping[str, Any], depth: int | str) -> None:
        self._method, self._sizes, self._options = method, sizes, options
        deepest = resolve_depth(method.deepest if depth == "auto" else depth, sizes.base.n_layers)
        rungs = method.ladder(sizes.top_layer, deepest)
        decided = sorted({name for rung in rungs for name in rung})
        for name in decided:
            if name in options:
                raise UsageError(
                    f"{_FLAG} and --option {name}={options[name]} contradict each other.",
                    cause=f"The budget decides {', '.join(decided)} of method {method.name!r}.",
                    remedy="Leave out one of them; `honed plan` says how many weights given options train.",
                )
        self._steps = [(rung, deepest) for rung in rungs]
        self._steps += [(rungs[-1], d) for d in range(deepest - 1, 0, -1)] if depth == "auto" else []

    def __len__(self) -> int:
        return len(self._steps)

    def size(self, i: int) -> Size:
        """The i-th largest size.

        Raises UsageError if the method finds nothing to adapt.
        """
        settings, depth = self._steps[i]
        n = self._sizes.adapter(self._method.name, {**self._options, **settings}, depth)
        return Size(self._method.name, settings, depth, n)

    def largest(self, limit: int) -> int:
        """Index of the largest size within `limit`; the number of sizes if there is none."""
        if self.size(len(self) - 1).n_parameters > limit:  # mostly so; it spares the rest
            return len(self)
        return bisect_left(range(len(self) - 1), True, key=lambda i: self.size(i).n_parameters <= limit)


def _why(budget: Budget, limit: int, sizes: Sizes, best: Size, too_large: list[Size]) -> str:
    n_layers = sizes.base.n_layers
    said = (
        f"{best.told(n_layers)} trains {_weights(best.n_parameters)}, {best.n_parameters / limit:.0%} of the budget of "
        f"{limit:,} ({budget.text} of {sizes.n_base:,}; the head is not counted)."
    )
    larger = []
    for size in too_large:
        excess = f"{size.n_parameters:,} ({_times(size.n_parameters / limit)} times the budget)"
        is_next = size.method == best.method
        larger.append(
            f"its next size, {size.told(n_layers)}, with {excess}" if is_next else f"{size.method} from {excess}"
        )
    return said + (f" Too large: {'; '.join(larger)}." if larger else "")


def _weights(n: int) -> str:
    return f"{n:,} weight{'' if n == 1 else 's'}"


def _times(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio < 100 else f"{ratio:,.0f}"
