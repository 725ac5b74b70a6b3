"""Machines to plan for: this one, measured in a second, and GPUs by name, from their makers' data sheets."""

from __future__ import annotations

import difflib
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from honed.errors import UsageError
from honed.planning.metering import Work

if TYPE_CHECKING:
    import torch

THIS = "this"
UTILISATION = 0.4
"""Share of a data sheet's FLOP/s that training reaches: PaLM 46 % (Chowdhery et al. 2022, appendix B), Megatron-LM up
to 52 % (Narayanan et al. 2021, table 1), both for products far larger than a small model's."""
BANDWIDTH_SHARE = 0.7
"""Share of a data sheet's bandwidth that simple operations reach."""
PROBED_PRODUCTS, PROBED_SIMPLE = 0.92, 0.5
"""Share of the probe's speed that a CPU keeps up through a whole run, in products and in everything else: the probe's
tensors lie in the processor's cache, a run's do not. Measured on two cores (benchmarks/plan.py)."""
CALL_S = 1e-5
"""Seconds that Python and torch take for one operation, however small."""
_PROBE_S = 0.25


@dataclass(frozen=True)
class Machine:
    """What a machine can do.

    memory_bytes : free for a run: of the GPU if it has one, else of the computer.
    flop_per_s : in matrix products, by number format; a format that is missing cannot be estimated.
    bytes_per_s : of memory, in simple operations.    is_measured : else it is an estimate from a data sheet.
    """

    name: str
    memory_bytes: int
    flop_per_s: dict[str, float]
    bytes_per_s: float
    is_gpu: bool
    is_measured: bool

    def seconds(self, work: Work, dtype: str) -> float | None:
        """Time of `work`: each operation is bound by its products, by memory, or by the call itself.

        Williams et al. 2009, Roofline: max(FLOP / FLOP/s, bytes / bytes/s). None if the format is not known here.
        """
        rate = self.flop_per_s.get(dtype)
        if rate is None:
            return None
        return sum(n * max(flop / rate, moved / self.bytes_per_s, CALL_S) for (flop, moved), n in work.calls.items())


def _gpu(name: str, memory_gb: float, tb_per_s: float, *, bfloat16: float | None, float32: float) -> Machine:
    peak = {"float32": float32} | ({"bfloat16": bfloat16} if bfloat16 else {})
    rates = {dtype: UTILISATION * tera * 1e12 for dtype, tera in peak.items()}
    return Machine(name, int(memory_gb * 1e9), rates, BANDWIDTH_SHARE * tb_per_s * 1e12, is_gpu=True, is_measured=False)


# TFLOP/s without sparsity, float32 without TF32 (torch's default), from NVIDIA's data sheets of each card (SXM where
# there are several) and, for the two RTX cards, the white papers of Ada (appendix A) and GA102 (table 2).
GPUS: dict[str, Machine] = {
    machine.name: machine
    for machine in (
        _gpu("H200", 141, 4.8, bfloat16=989, float32=67),
        _gpu("H100", 80, 3.35, bfloat16=989, float32=67),
        _gpu("A100-80", 80, 2.039, bfloat16=312, float32=19.5),
        _gpu("A100-40", 40, 1.555, bfloat16=312, float32=19.5),
        _gpu("L40S", 48, 0.864, bfloat16=362, float32=91.6),
        _gpu("L4", 24, 0.3, bfloat16=121, float32=30.3),
        _gpu("T4", 16, 0.3, bfloat16=None, float32=8.1),  # Turing has no bfloat16
        _gpu("RTX4090", 24, 1.008, bfloat16=165.2, float32=82.6),
        _gpu("RTX3090", 24, 0.936, bfloat16=71, float32=35.6),
    )
}


def named_machine(name: str) -> Machine:
    """A GPU of the table.

    Raises UsageError with the nearest name if there is none.
    """
    folded = {known.casefold().replace("-", ""): machine for known, machine in GPUS.items()}
    wanted = name.casefold().replace("-", "").replace(" ", "").replace("_", "")
    if wanted not in folded:
        near = difflib.get_close_matches(wanted, folded, n=1)
        raise UsageError(
            f"There is no machine {name!r} to plan for.",
            remedy=(f"Did you mean {folded[near[0]].name}? " if near else "") + f"Known: {THIS}, {', '.join(GPUS)}.",
        )
    return folded[wanted]


def this_machine(device: torch.device, dtype: str, width: int) -> Machine:
    """This machine, measured: products of the model's width in its number format, and GELU for all simple operations.

    The probes are so short that some of them run undisturbed even on a busy machine; the fastest one counts.
    """
    import psutil
    import torch

    kind = getattr(torch, dtype)
    is_cpu = device.type == "cpu"
    d, rows = max(64, min(width, 1024 if is_cpu else 8192)), 256 if is_cpu else 8192
    a, w = torch.rand(rows, d, device=device).to(kind), torch.rand(4 * d, d, device=device).to(kind)
    rate = 2.0 * rows * d * 4 * d / _fastest(lambda: torch.nn.functional.linear(a, w), device)
    x = torch.rand(1 << 20 if is_cpu else 1 << 26, device=device)
    bandwidth = 2.0 * x.numel() * x.element_size() / _fastest(lambda: torch.nn.functional.gelu(x), device)
    rate, bandwidth = PROBED_PRODUCTS * rate, PROBED_SIMPLE * bandwidth
    if device.type == "cuda":
        free, name = torch.cuda.mem_get_info(device)[0], torch.cuda.get_device_name(device)
    else:
        free = int(psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)
        name = f"{platform.machine()}, {torch.get_num_threads()} threads"
    return Machine(
        f"this machine ({name})", free, {dtype: rate}, bandwidth, is_gpu=device.type == "cuda", is_measured=True
    )


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    """Shortest time of one call: what the machine can do when nothing else disturbs it.

    On a busy computer all threads are seldom free at once, and one alone may be the faster.
    """
    import torch

    best = _shortest(run, device)
    n_threads = torch.get_num_threads()
    if device.type != "cpu" or n_threads == 1:
        return best
    torch.set_num_threads(1)
    try:
        return min(best, _shortest(run, device))
    finally:
        torch.set_num_threads(n_threads)


def _shortest(run: Callable[[], object], device: torch.device) -> float:
    import torch

    def timed() -> float:
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    timed()
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < _PROBE_S:
        best = min(best, timed())
    return best
