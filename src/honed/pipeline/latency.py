"""What an adapter costs at every prediction: seconds a row beyond the bare base."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from honed.serving.engine import Specialist
from honed.training.build import encode
from honed.training.loop import predict

if TYPE_CHECKING:
    import torch

ROWS, REPEATS = 32, 9


def added_latency_s(specialist: Specialist, texts: Sequence[str]) -> float:
    """Seconds a row that the adapted model takes longer than the base with the same pooling, on up to 32 texts.

    Median of nine paired runs, which take turns. Near zero it may come out negative: that is the noise.
    """
    import torch

    stack = specialist.stack
    inputs = encode(stack, list(texts[:ROWS]))
    rows = np.arange(len(inputs.encoded))

    def adapted() -> None:
        predict(stack, inputs, None, 0, rows)

    def base() -> None:
        with torch.inference_mode():
            stack.features(inputs, None, rows)

    differences = []
    for i in range(REPEATS + 1):
        # The untimed call brings in the weights: a method that trains the base's own must change them first.
        base()
        base_s = _seconds(base, stack.device)
        adapted()
        adapted_s = _seconds(adapted, stack.device)
        if i:  # the first round warms up
            differences.append(adapted_s - base_s)
    return statistics.median(differences) / len(rows)


def _seconds(call: Callable[[], None], device: torch.device) -> float:
    import torch

    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
