"""What `--trials` says: which options are tried with which values.

learning_rate=1e-4,3e-4,1e-3; rank=4,16                     every combination
learning_rate=log(1e-5,1e-2); rank=int(2,64)                settings drawn from ranges
target='q_proj,v_proj',attention                            quotes hold a value with commas together
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from honed.config import Config, flag, make_config
from honed.errors import ConfigError
from honed.methods.base import get_method

SWEPT = (
    "learning_rate", "head_learning_rate", "weight_decay", "warmup_frac", "clip_norm", "balance", "epochs", "patience",
    "batch_size", "head", "ordinal_head", "layers", "depth", "max_tokens", "image_size", "image_fit", "views",
    "augment", "average_views", "precision",
)  # fmt: skip
"""Fields of the configuration that can be tried; every option of the method can be, too."""

OWN_AUTO = ("depth",)
"""Fields whose `auto` is a value like others, the same number in every trial of the same layers."""

MAX_GRID = 64
"""A grid of more settings must be drawn from."""

_OTHER_ROWS = "settings must be compared on the same rows and folds"
_COMPARE = "that is a comparison: `honed compare` makes it, and corrects its test for the number of methods"
_NO_EFFECT = "it does not change what is learned"
REFUSED = {
    "data": _OTHER_ROWS, "text": _OTHER_ROWS, "image": _OTHER_ROWS, "label": _OTHER_ROWS, "group": _OTHER_ROWS,
    "id": _OTHER_ROWS,
    "template": _OTHER_ROWS, "test_file": _OTHER_ROWS, "folds": _OTHER_ROWS, "holdout_frac": _OTHER_ROWS,
    "stop_frac": _OTHER_ROWS, "ordinal": _NO_EFFECT, "task": _OTHER_ROWS,
    "base": _COMPARE, "revision": _COMPARE, "method": _COMPARE,
    "beta": "it scales the loss by which settings are compared",
    "seed": "the seed that looks best on a stop part is only the luckiest",
    "out": _NO_EFFECT, "device": _NO_EFFECT, "gate": _NO_EFFECT, "require": _NO_EFFECT, "metric": _NO_EFFECT,
    "level": _NO_EFFECT, "keep_texts": _NO_EFFECT, "cache_frac": _NO_EFFECT, "gradient_checkpointing": _NO_EFFECT,
}  # fmt: skip
"""Fields that cannot be tried, and why."""

_RANGE = re.compile(r"(?P<kind>\w+)\((?P<low>[^,()]*),(?P<high>[^,()]*)\)")
_ITEM = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|([^,'"]+))\s*(?:,|$)""")


@dataclass(frozen=True)
class Choices:
    """An option and the values to try, as the configuration holds them."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """An option and the range to draw from. kind: log or uniform (a number), int, logint (a whole number)."""

    name: str
    kind: Literal["log", "uniform", "int", "logint"]
    low: float
    high: float

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.kind in {"int", "logint"}

    @property
    def is_log(self) -> bool:
        """Whether each power of ten is equally likely."""
        return self.kind in {"log", "logint"}


Axis = Choices | Range


@dataclass(frozen=True)
class Setting:
    """One combination of values.

    values : by option.    rate_factor : the learning rate as a multiple of the one that the range test finds.
    """

    values: Mapping[str, Any]
    rate_factor: float | None = None

    @property
    def label(self) -> str:
        """`learning_rate=0.001, rank=4`."""
        parts = [f"{name}={value}" for name, value in self.values.items()]
        if self.rate_factor is not None:
            parts.insert(0, f"learning_rate={self.rate_factor:g} x range test")
        return ", ".join(parts) or "as configured"

    def apply(self, config: Config) -> Config:
        """The configuration with these values."""
        return _applied(config, self.values)


def parse_trials(text: str, config: Config) -> tuple[Axis, ...]:
    """The options that `text` names, each with its values or its range.

    Raises ConfigError that lists *all* faults, for an unknown option with the nearest one.
    """
    faults: list[str] = []
    axes: list[Axis] = []
    named: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, values = (piece.strip() for piece in part.partition("="))
        name = name.lstrip("-").replace("-", "_")
        if not name or not equals or not values:
            faults.append(f"{part!r}: write NAME=VALUE,VALUE")
        elif name in named:
            faults.append(f"{name}: named twice")
        elif reason := _refusal(name, config):
            faults.append(f"{name}: {reason}")
        else:
            axis = _axis(name, values, config, faults)
            if axis is not None:
                axes.append(axis)
        named.add(name)
    if not axes and not faults:
        faults.append("it names no option; write for example learning_rate=1e-4,1e-3")
    if faults:
        raise ConfigError(
            f"--trials has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n  " + "\n  ".join(faults),
            remedy="\nWrite for example `--trials 'learning_rate=1e-4,1e-3; rank=4,16'`, or a range: "
            "`--trials 'learning_rate=log(1e-5,1e-2)' --n-trials 16`.",
        )
    return tuple(axes)


def grid(axes: Sequence[Choices]) -> list[dict[str, Any]]:
    """Every combination, the last option changing fastest."""
    return [
        dict(zip((axis.name for axis in axes), values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def _refusal(name: str, config: Config) -> str:
    options = get_method(config.method).options.model_fields
    if name in SWEPT:
        finder = _finder(name, config)
        return f"{finder}; give one of the two" if finder else ""
    if name in options:
        return ""
    if name in Config.model_fields:
        return f"cannot be tried, since {REFUSED[name]}" if name in REFUSED else "cannot be tried"
    near = difflib.get_close_matches(name, [*SWEPT, *options], n=1)
    known = f"{config.method} has {', '.join(options)}" if options else f"{config.method} has no options"
    return "unknown; " + (f"did you mean {near[0]}?" if near else known)


def _finder(name: str, config: Config) -> str:
    """What chooses the option already, in words; "" if nothing does."""
    if name == "learning_rate" and config.learning_rate == "auto":
        return "--learning-rate auto finds it"
    return f"{flag(name)} measured chooses it" if getattr(config, name) == "measured" else ""


def _axis(name: str, text: str, config: Config, faults: list[str]) -> Axis | None:
    drawn = _RANGE.fullmatch(text)
    if drawn:
        return _range(name, drawn, config, faults)
    items, at = [], 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if not found or not (item := next((g for g in found.groups() if g is not None), "").strip()):
            faults.append(f"{name}: {text!r} is no list of values; write {name}=VALUE,VALUE")
            return None
        items.append(item)
        at = found.end()
    values: list[Any] = []
    n_faults = len(faults)
    for item in items:
        value = _checked(name, item, config, faults)
        if value in values:
            faults.append(f"{name}: {item} stands there twice")
        values.append(value)
    return Choices(name, tuple(values)) if len(faults) == n_faults else None


def _range(name: str, drawn: re.Match[str], config: Config, faults: list[str]) -> Range | None:
    kind = drawn["kind"]
    kinds: dict[str, Literal["log", "uniform", "int", "logint"]] = {
        "log": "log", "uniform": "uniform", "int": "int", "logint": "logint"
    }  # fmt: skip
    if kind not in kinds:
        near = difflib.get_close_matches(kind, kinds, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
        faults.append(f"{name}: {kind}(...) is no range; {hint}")
        return None
    try:
        low, high = float(drawn["low"]), float(drawn["high"])
    except ValueError:
        faults.append(f"{name}: the ends of {drawn[0]} are no numbers")
        return None
    axis = Range(name, kinds[kind], low, high)
    n_faults = len(faults)
    if not low < high or not math.isfinite(high - low):
        faults.append(f"{name}: the first end of {drawn[0]} must be below the second")
    elif axis.is_log and low <= 0:
        faults.append(f"{name}: {drawn[0]} must begin above zero; use {'int' if axis.is_whole else 'uniform'}(...)")
    elif axis.is_whole and not (low.is_integer() and high.is_integer()):
        faults.append(f"{name}: the ends of {drawn[0]} must be whole numbers")
    else:
        for end in (low, high):
            _checked(name, int(end) if axis.is_whole else end, config, faults)
        if not axis.is_whole and isinstance(_value(config, name), int) and not isinstance(_value(config, name), bool):
            faults.append(f"{name}: it takes whole numbers; use int(...) or logint(...)")
    return axis if len(faults) == n_faults else None


def _checked(name: str, item: Any, config: Config, faults: list[str]) -> Any:
    """The value as the configuration holds it; a fault, if it does not take it."""
    try:
        value = _value(_applied(config, {name: item}), name)
        if value == "measured" or (value == "auto" and name not in OWN_AUTO):
            faults.append(f"{name}: {item} stands for a value that is found before the trials; name values")
        return value
    except ConfigError as error:
        first = error.problem.splitlines()[1:2] or [error.problem]
        faults.append(f"{name}: {first[0].partition(': ')[2] or first[0]}")
        return None


def _value(config: Config, name: str) -> Any:
    if name in Config.model_fields:
        return getattr(config, name)
    return getattr(get_method(config.method).options(**config.method_options), name)


def _applied(config: Config, values: Mapping[str, Any]) -> Config:
    fields = {name: value for name, value in values.items() if name in Config.model_fields}
    options = {name: value for name, value in values.items() if name not in Config.model_fields}
    return make_config({**config.model_dump(), **fields, "method_options": {**config.method_options, **options}})
