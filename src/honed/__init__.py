"""Turn a general pretrained model into a specialist for one domain, with proof.

`fit` trains and proves a specialist, `load` opens one, `compare` weighs methods, `audit` tells what label noise costs,
`HonedClassifier` is the scikit-learn estimator. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from honed.version import __version__

if TYPE_CHECKING:
    from honed.api import Audit, Comparison, Run, audit, compare, fit, load
    from honed.estimator import HonedClassifier

__all__ = ["Audit", "Comparison", "HonedClassifier", "Run", "__version__", "audit", "compare", "fit", "load"]

_HOMES = {
    "Audit": "honed.api",
    "Comparison": "honed.api",
    "HonedClassifier": "honed.estimator",
    "Run": "honed.api",
    "audit": "honed.api",
    "compare": "honed.api",
    "fit": "honed.api",
    "load": "honed.api",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'honed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
