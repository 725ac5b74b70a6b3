"""What `metrics.json` says of a training beside its scores: curves, parameters, memory, machine, versions."""

from __future__ import annotations

import platform
from typing import Any

from honed.pipeline.machine import peak_rss_bytes, versions
from honed.pipeline.tuning import Tuned


def fit_facts(tuned: Tuned, trunk_bytes: int) -> dict[str, Any]:
    """learning_curves, parameters, memory, machine, versions, and tuning where settings were tried."""
    stack, trained = tuned.stack, tuned.trained
    n_trained = sum(p.numel() for p in stack.adapter_parameters(tuned.slot).values())
    n_head = sum(p.numel() for p in stack.head_parameters(tuned.slot).values())
    n_base = stack.n_base_parameters
    facts = {
        "learning_curves": {**trained.curves, "best_epoch": trained.best_epoch},
        "parameters": {
            "trained": n_trained + n_head, "adapter": n_trained, "head": n_head, "base": n_base,
            "frac": (n_trained + n_head) / n_base,
        },
        "memory": {"peak_rss_bytes": peak_rss_bytes(), "trunk_cache_bytes": trunk_bytes},
        "machine": f"{platform.system()} {platform.machine()}, {stack.device}",
        "versions": versions(),
    }  # fmt: skip
    return facts if tuned.report is None else facts | {"tuning": tuned.report}
