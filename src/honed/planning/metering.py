"""Counts what torch operations do, while they run on tensors without content (`FakeTensorMode`: the meta device, with
the shapes, types and devices of the real one): nothing is computed and nothing is allocated.

So the operations counted are honed's own, whatever the model and the method are.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

Kind = tuple[float, float]
"""FLOP and bytes read and written of one operation."""


@dataclass(frozen=True)
class Work:
    """How often each kind of operation runs; sums and multiples are exact."""

    calls: dict[Kind, float]

    def __add__(self, other: Work) -> Work:
        """Both, one after the other."""
        total = dict(self.calls)
        for kind, n in other.calls.items():
            total[kind] = total.get(kind, 0.0) + n
        return Work(total)

    def __mul__(self, factor: float) -> Work:
        """The same, `factor` times."""
        return Work({kind: n * factor for kind, n in self.calls.items()})

    @property
    def flop(self) -> float:
        """Floating-point operations of the products."""
        return sum(kind[0] * n for kind, n in self.calls.items())

    @property
    def moved_bytes(self) -> float:
        """Bytes read and written."""
        return sum(kind[1] * n for kind, n in self.calls.items())


NOTHING = Work({})


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """While active: `work` counts operations; `peak_bytes` is the most that tensors born inside have held at once.

    Operations that only give another view of a tensor cost nothing. Memory that a kernel takes for itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: Counter[Kind] = Counter()
        self._live: dict[int, Any] = {}
        self.live_bytes = 0
        self.peak_bytes = 0

    @property
    def work(self) -> Work:
        """What was counted since the start, or since the last `restart`."""
        return Work(dict(self._calls))

    def restart(self) -> Work:
        """Count from zero; returns what was counted so far."""
        done = self.work
        self._calls.clear()
        return done

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count it."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        read = [item for item in tree_iter((args, kwargs)) if isinstance(item, torch.Tensor)]
        results = [item for item in tree_iter(output) if isinstance(item, torch.Tensor)]
        old = {tensor.untyped_storage()._cdata for tensor in read}
        for tensor in results:
            if tensor.untyped_storage()._cdata not in old:  # else a view, perhaps of a weight that was there before
                self._hold(tensor)
        if results and not func.is_view:
            moved = sum(tensor.numel() * tensor.element_size() for tensor in read + results)
            self._calls[_flop(func, args, kwargs, output), moved] += 1
        return output

    def _hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._live:
            return

        def freed(_: Any) -> None:
            self.live_bytes -= size
            self._live.pop(key, None)

        self._live[key] = weakref.ref(storage, freed)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def _flop(func: Any, args: Any, kwargs: Any, output: Any) -> float:
    """FLOP of a product of matrices, 2 m n k (a multiplication and an addition each); 0 for all else."""
    name = func._overloadpacket.__name__
    if name in {"mm", "bmm", "_grouped_mm"}:
        return 2.0 * float(args[0].numel() * args[1].shape[-1])
    if name in {"addmm", "addmm_", "baddbmm", "baddbmm_"}:
        return 2.0 * float(args[1].numel() * args[2].shape[-1])
    if name.startswith("_scaled_dot_product"):
        # Q K^T and (softmax) V; the backward pass has five such products where the forward pass has two.
        is_backward = "backward" in name
        query, key = args[1:3] if is_backward else args[:2]
        return (10.0 if is_backward else 4.0) * float(query.numel() * key.shape[-2])
    formula = flop_registry.get(func._overloadpacket)
    return float(formula(*args, **kwargs, out_val=output)) if formula else 0.0
