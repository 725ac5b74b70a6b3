"""The trunk: the layers below the lowest adapted one are a fixed function of the example, so compute them once.

`capture` records the hidden state that enters layer `cut`; `replay` puts it back there later while the layers below are
skipped. Embeddings, masks and position embeddings stay the model's own, so cached and uncached agree to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


class _Captured(Exception):  # noqa: N818 - a signal, not an error
    def __init__(self, hidden: torch.Tensor) -> None:
        self.hidden = hidden


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    hidden: torch.Tensor = args[0] if args else kwargs["hidden_states"]
    return hidden


def capture(run: Callable[[], Any], layers: torch.nn.ModuleList, cut: int) -> torch.Tensor:
    """The hidden state (rows, tokens, d) that enters `layers[cut]` while `run()` calls the model."""

    def stop(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise _Captured(_first(args, kwargs))

    handle = layers[cut].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        run()
    except _Captured as captured:
        return captured.hidden
    finally:
        handle.remove()
    raise RuntimeError(f"layer {cut} was never called")


def layer_outputs(
    run: Callable[[], Any], layers: torch.nn.ModuleList, wanted: Collection[int]
) -> dict[int, torch.Tensor]:
    """What leaves each of the lowest n layers, for every n in `wanted`: (rows, tokens, d), in one call of the model."""
    found: dict[int, torch.Tensor] = {}

    def keep(number: int, output: Any) -> None:
        found[number] = output if isinstance(output, torch.Tensor) else output[0]

    handles = [
        layers[number - 1].register_forward_hook(lambda *args, number=number: keep(number, args[-1]))
        for number in wanted
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found


@contextmanager
def cut_after(layers: torch.nn.ModuleList, hidden: torch.Tensor) -> Iterator[None]:
    """Within the block, the model's layers give `hidden`: what follows them reads it, as it would after a cut."""
    for layer in layers:
        layer.forward = lambda *_args, **_kwargs: hidden
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def watch(layers: torch.nn.ModuleList, cut: int) -> Iterator[list[torch.Tensor]]:
    """Within the block, calls of the model leave here the hidden state (rows, tokens, d) that entered `layers[cut]`."""
    seen: list[torch.Tensor] = []

    def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(_first(args, kwargs))

    handle = layers[cut].register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def _pass_through(*args: Any, **kwargs: Any) -> torch.Tensor:
    return _first(args, kwargs)


@contextmanager
def replay(layers: torch.nn.ModuleList, cut: int, hidden: torch.Tensor) -> Iterator[None]:
    """Within the block, calls of the model start at `layers[cut]` from `hidden`; the layers below cost nothing."""

    def swap(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (hidden, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": hidden}

    handle = layers[cut].register_forward_pre_hook(swap, with_kwargs=True)
    lower = list(layers)[:cut]
    for layer in lower:
        layer.forward = _pass_through
    try:
        yield
    finally:
        handle.remove()
        for layer in lower:
            del layer.forward


class TrunkCache:
    """Hidden states of n examples of different lengths in one flat buffer (sum of lengths, d).

    The buffer lies in RAM, or in the file `spill` (memory-mapped) if one is given.
    """

    def __init__(self, length: npt.ArrayLike, hidden_size: int, dtype: torch.dtype, spill: Path | None = None) -> None:
        self.length = np.asarray(length, dtype=np.int64)
        self.start: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(self.length)[:-1]]).astype(np.int64)
        shape = (int(self.length.sum()), hidden_size)
        if spill is None:
            self.buffer = torch.empty(shape, dtype=dtype)
        else:
            with spill.open("wb") as file:  # take the space now: a memory-mapped write to a full disk kills the process
                os.posix_fallocate(file.fileno(), 0, max(1, shape[0] * shape[1] * dtype.itemsize))
            self.buffer = torch.from_file(str(spill), shared=True, size=shape[0] * shape[1], dtype=dtype).view(shape)

    @property
    def n_bytes(self) -> int:
        """Size of the buffer."""
        return self.buffer.numel() * self.buffer.element_size()

    def put(self, rows: npt.NDArray[np.int64], hidden: torch.Tensor) -> None:
        """Store hidden: (rows, tokens, d), dropping the padding on the right."""
        host = hidden.to("cpu")
        for i, row in enumerate(rows):
            start, length = self.start[row], self.length[row]
            self.buffer[start : start + length] = host[i, :length]

    def get(self, rows: npt.NDArray[np.int64], n_tokens: int) -> torch.Tensor:
        """Hidden states of `rows`, padded on the right to `n_tokens`: (rows, n_tokens, d)."""
        # The padding repeats the row's last token: any finite value does, since the mask hides it.
        offset = np.minimum(np.arange(n_tokens)[None, :], self.length[rows][:, None] - 1)
        index = torch.from_numpy((self.start[rows][:, None] + offset).reshape(-1))
        return self.buffer.index_select(0, index).view(len(rows), n_tokens, -1)
