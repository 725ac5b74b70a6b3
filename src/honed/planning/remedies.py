"""What would make a run fit a machine: alternatives, each computed, and whether honed can do them today."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from honed.planning.machines import Machine
from honed.planning.memory import Facts, plan_memory, with_depth

QUANTISED_BITS = {"8-bit": 8.0, "4-bit": 4.127}
"""Bits of a weight: LLM.int8() (Dettmers et al. 2022); NF4 with double quantisation, 4 + .127 (QLoRA, Dettmers et al.
2023, section 3)."""

TODAY, NOT_YET = "today", "not in honed yet"


@dataclass(frozen=True)
class Remedy:
    """One alternative.

    bytes : the peak with it, of one device.    fits : on the machine it was computed for.    how : the flags, or what
    is missing.    status : `today`, or `not in honed yet`.
    """

    name: str
    bytes: int
    fits: bool
    how: str
    status: str


def remedies(facts: Facts, machine: Machine, dtype: str, train_peak_at: Callable[[int], float]) -> tuple[Remedy, ...]:
    """Alternatives that need less memory, the ones that honed can do first.

    train_peak_at : activations of a training pass at a depth.
    """
    now = _peak(facts, machine)
    found: list[Remedy] = []

    def offer(name: str, n_bytes: float, how: str, status: str = TODAY) -> None:
        if n_bytes < 0.98 * now:
            found.append(Remedy(name, int(n_bytes), n_bytes <= machine.memory_bytes, how, status))

    if facts.depth > 1:
        depths = [d for d in (facts.depth // 2, 1) if d >= 1]
        for depth in dict.fromkeys(depths):
            less = with_depth(facts, depth, train_peak_at(depth))
            offer(f"depth {depth}", _peak(less, machine), f"--depth {depth}")
    if dtype == "float32":
        half = replace(
            facts, itemsize=2, train_peak=facts.train_peak / 2, score_peak=facts.score_peak / 2
        )  # tensors of the base's own format are nearly all of them
        offer("bfloat16", _peak(half, machine), "--precision bfloat16")
    kept = _recomputed_peak(facts, train_peak_at)
    offer("recomputing activations", _peak(replace(facts, train_peak=kept), machine), "--gradient-checkpointing")
    if facts.trunk_in_ram and facts.trunk_bytes and not machine.is_gpu:
        offer("trunk cache on disk", _peak(replace(facts, trunk_in_ram=False), machine), "--cache-frac 0")

    read_once = "each layer below the cut is read, used for the trunk and dropped"
    offer("streaming the frozen layers once", _streamed(facts, machine), read_once, NOT_YET)
    if facts.depth > 1:
        top = with_depth(facts, 1, train_peak_at(1))
        offer("streaming, depth 1", _streamed(top, machine), f"--depth 1; {read_once}", NOT_YET)
    for name, bits in QUANTISED_BITS.items():
        offer(f"{name} base", now - _saved_by_bits(facts, bits), "the layers' frozen weights quantised", NOT_YET)
    for name, saved in {"": 0.0, ", 4-bit base": _saved_by_bits(facts, QUANTISED_BITS["4-bit"])}.items():
        for also, own in {"": facts, ", recomputing activations": replace(facts, train_peak=kept)}.items():
            n, each = _shards(own, machine, facts.base_bytes - saved)
            if n > 1:
                offer(f"sharding over {n} devices{name}{also}", each, "layers of the base spread over devices", NOT_YET)
                break
    return tuple(found)


def _peak(facts: Facts, machine: Machine) -> int:
    return plan_memory(facts, is_gpu=machine.is_gpu).device_bytes


def _recomputed_peak(facts: Facts, train_peak_at: Callable[[int], float]) -> float:
    """One layer's activations at a time, and the hidden states between the layers (Chen et al. 2016)."""
    from honed.planning.workload import BATCH_TOKENS

    between = BATCH_TOKENS * facts.hidden_size * facts.itemsize * facts.depth
    return min(facts.train_peak, train_peak_at(1) + between)


def _streamed(facts: Facts, machine: Machine) -> float:
    """Resident are the adapted layers, what lies outside the layers, and two frozen layers: one in use, one coming."""
    layers = facts.parameters.layers
    below = layers[: len(layers) - facts.depth]
    absent = sum(below) - 2 * max(below, default=0)
    return _peak(facts, machine) - max(0, absent) * facts.itemsize


def _saved_by_bits(facts: Facts, bits: float) -> float:
    """Weights of the frozen layers, and of adapted ones that the method leaves frozen."""
    layers = facts.parameters.layers
    frozen = sum(layers) if not facts.touches_base else sum(layers[: len(layers) - facts.depth])
    return frozen * max(0.0, facts.itemsize - bits / 8)


def _shards(facts: Facts, machine: Machine, base_bytes: float) -> tuple[int, float]:
    """Number of devices over which `base_bytes` of weights fit, and the peak of each; activations do not shrink.

    A layer is not cut in two, so a device may hold up to one more than its share.
    """
    fixed = _peak(facts, machine) - facts.base_bytes
    largest = base_bytes * max(facts.parameters.layers) / facts.parameters.base
    room = machine.memory_bytes - fixed - largest
    if room <= 0:
        return 1, fixed + base_bytes
    n = math.ceil(base_bytes / room)
    return n, fixed + largest + base_bytes / n
