"""What a run holds at its peak, and what it writes.

Weights, gradients, AdamW's two moments (Kingma & Ba 2015), the copies of each slot's state that the loop keeps, the
trunk cache, and the activations of the largest pass, which the rehearsal has counted tensor by tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from honed.planning.rehearsal import Parameters
from honed.planning.workload import Workload

# Measured in whole runs (torch 2.13 for CPU, Linux, glibc 2.36): see benchmarks/plan.py.
PROCESS_BYTES = 690_000_000
"""Python, torch, transformers, scikit-learn and pyarrow once all have been used."""
SCORING_FACTOR, TRAINING_FACTOR = 1.8, 1.0
"""Resident memory for each byte that tensors hold at once in a scoring and in a training pass. glibc does not always
find room in what was freed, and honed tells it to keep that (`training/allocator.py`): so the two add."""
GPU_PROCESS_BYTES, GPU_FACTOR = 700_000_000, 1.15
"""A CUDA context with its libraries, and the slack of torch's caching allocator. Not measured."""
CHECKPOINT_S = 30.0
"""A run that trains for longer writes checkpoints (`CheckpointFolder`)."""
_LBFGS_VECTORS = 29
"""Vectors of coefficients in float64 that scikit-learn's logistic regression holds: SciPy's L-BFGS-B keeps 10 pairs of
corrections and its work space, 2 m n + 5 n floats with m = 10 (Byrd et al. 1995), beside point and gradient."""
_CHARACTERS_PER_WORD = 6.5
_THUMBNAIL_VALUES = 768
_ROW_BYTES = 4_000
"""Tables, ids, folds and hashes of one row."""


@dataclass(frozen=True)
class Facts:
    """What the memory of a run follows from.

    depth : adapted layers.    itemsize : bytes of a weight of the base.    stacks, touches_base : of the method.
    trunk_in_ram : whether the cache of hidden states stays in memory.
    train_peak, score_peak : bytes of activations of the largest training and the largest scoring pass.
    lasts_s : seconds of training.    n_pooled : how many hidden states a head takes beside each other.
    pixels_in_ram : whether encoded images stay in memory.
    """

    parameters: Parameters
    workload: Workload
    hidden_size: int
    depth: int
    itemsize: int
    stacks: bool
    touches_base: bool
    train_peak: float
    score_peak: float
    trunk_in_ram: bool = True
    lasts_s: float = math.inf
    n_pooled: int = 1
    pixels_in_ram: bool = True

    @property
    def slot_bytes(self) -> int:
        """One slot's trained weights; those of a half-precision base are kept in float32, base weights as they are."""
        wide = max(4, self.itemsize)
        own = self.itemsize if self.touches_base else wide
        return self.parameters.adapter * own + self.parameters.head * wide

    @property
    def base_bytes(self) -> int:
        """The base's weights."""
        return self.parameters.base * self.itemsize

    @property
    def trunk_bytes(self) -> int:
        """Cached hidden states of the development rows."""
        below = len(self.parameters.layers) - self.depth
        return int(self.workload.tokens * self.hidden_size * self.itemsize) if below else 0

    @property
    def feature_width(self) -> int:
        """Values of an example's features."""
        return self.n_pooled * self.hidden_size

    @property
    def pixel_bytes(self) -> int:
        """Encoded images of the development rows; the holdout's are encoded once these are gone."""
        images = self.workload.images
        return self.workload.development * images.encoded_bytes if images else 0

    @property
    def n_live_slots(self) -> int:
        """Slots that train at once."""
        return self.workload.n_slots if self.stacks else 1

    @property
    def states_bytes(self) -> int:
        """Copies of slots that the loop keeps on the CPU.

        Each slot's start (a method that touches the base shares one) and, if slots train one after another, the slots
        that are over; the best state of each fold, and one of the final model for every epoch.
        """
        n, slot = self.workload.n_slots, self.slot_bytes
        starts = 1 if self.touches_base else n
        best = self.workload.folds if self.workload.stop else self.workload.folds * self.workload.epochs
        parked = 0 if self.stacks else n
        return slot * (starts + best + self.workload.epochs + parked)

    @property
    def checkpoint_bytes(self) -> int:
        """One checkpoint: every slot now, its kept states, and the moments of the slots in training."""
        best = self.workload.folds + self.workload.epochs
        return self.slot_bytes * (self.workload.n_slots + best + 2 * self.n_live_slots)


@dataclass(frozen=True)
class Memory:
    """Bytes by what they are for. device : where the model is (the GPU, or the computer itself); host : the computer.

    Without a GPU both are the same memory, and `host` holds everything.
    """

    device: dict[str, int]
    host: dict[str, int]

    @property
    def device_bytes(self) -> int:
        """Peak on the device."""
        return sum(self.device.values())

    @property
    def host_bytes(self) -> int:
        """Peak resident memory of the process."""
        return sum(self.host.values())


def model_memory(facts: Facts) -> dict[str, int]:
    """What must lie where the model computes, beside activations: weights, gradients, moments."""
    live = facts.n_live_slots
    own = 0 if facts.touches_base else facts.slot_bytes * live
    return {
        "base weights": facts.base_bytes,
        "trained weights": own,
        "gradients": facts.slot_bytes * live,
        "optimizer moments": 2 * facts.slot_bytes * live,
        # AdamW over many tensors at once holds the square root of the second moments of one slot.
        "optimizer work space": facts.slot_bytes,
    }


def plan_memory(facts: Facts, *, is_gpu: bool) -> Memory:
    """Peak memory of a run."""
    model = model_memory(facts)
    # Between two steps, and after the last one: a checkpoint is gathered and copied, a baseline is fitted.
    between = max(2 * facts.checkpoint_bytes if facts.lasts_s > CHECKPOINT_S else 0, baseline_bytes(facts.workload))
    host = {
        "libraries": PROCESS_BYTES,
        "encoded images": facts.pixel_bytes if facts.pixels_in_ram else 0,
        "rows and texts": int(facts.workload.rows * (_ROW_BYTES + 6 * facts.workload.characters)),
        "kept states": facts.states_bytes,
        "trunk cache": facts.trunk_bytes if facts.trunk_in_ram else 0,
        "features": 2 * 8 * facts.workload.rows * facts.feature_width,
    }
    if is_gpu:
        activations = int(GPU_FACTOR * max(facts.train_peak, facts.score_peak))
        device = {"CUDA": GPU_PROCESS_BYTES, **model, "activations": activations}
        # Weights are read into the computer's memory and moved from there.
        return Memory(device, host | {"loading": facts.base_bytes, "checkpoint or baselines": between})
    # Activations are gone by then, and what the heap kept of them serves.
    passes = SCORING_FACTOR * facts.score_peak + TRAINING_FACTOR * facts.train_peak
    host = {"libraries": host.pop("libraries"), **model, "activations": int(passes), **host}
    host["checkpoint or baselines"] = max(0, int(between - passes))
    return Memory(host, host)


def baseline_bytes(workload: Workload) -> int:
    """TF-IDF + logistic regression: coefficients of every word and pair of words for every class, and its solver.

    Of images: their thumbnails, these centred, and the factors of their decomposition.
    """
    if workload.images:
        return 4 * 8 * workload.development * _THUMBNAIL_VALUES
    return int(
        _LBFGS_VECTORS * 8 * n_terms(workload) * coefficient_rows(workload) + 40 * workload.rows * _pairs(workload)
    )


def coefficient_rows(workload: Workload) -> int:
    """Rows of coefficients of a logistic regression: one a class, or one for two classes."""
    return 1 if workload.n_classes == 2 else workload.n_classes


def n_terms(workload: Workload) -> float:
    """Words and pairs of words that TF-IDF keeps.

    Heaps' law (Heaps 1978): the vocabulary grows with a power of the text's length. Fitted on folds of 200 to 2,000
    medical and legal texts; from 500 training rows on, terms of a single row are left out.
    """
    words = workload.development * (1 - 1 / workload.folds) * workload.characters / _CHARACTERS_PER_WORD
    return (
        2.27 * float(words**0.9)
        if workload.development * (1 - 1 / workload.folds) < 500
        else 0.715 * float(words**0.864)
    )


def _pairs(workload: Workload) -> float:
    return 2 * workload.characters / _CHARACTERS_PER_WORD


@dataclass(frozen=True)
class Disk:
    """Bytes in the run folder: `kept` after the run, `peak` during it."""

    kept: dict[str, int]
    during: dict[str, int]

    @property
    def kept_bytes(self) -> int:
        """What stays."""
        return sum(self.kept.values())

    @property
    def peak_bytes(self) -> int:
        """The most at any moment."""
        return self.kept_bytes + sum(self.during.values())


def plan_disk(facts: Facts, *, keeps_texts: bool) -> Disk:
    """What the run folder takes. A checkpoint is written beside the last one, so there are two for a moment."""
    workload = facts.workload
    kept = {
        "adapter and head": facts.slot_bytes,
        "tables": int(workload.rows * (150 + 8 * workload.n_classes)),
        "texts": int(workload.rows * workload.characters) if keeps_texts else 0,
        "report": 400_000,
    }
    during = {
        "checkpoints": 2 * facts.checkpoint_bytes if facts.lasts_s > CHECKPOINT_S else 0,
        "trunk cache": 0 if facts.trunk_in_ram else facts.trunk_bytes,
        "encoded images": 0 if facts.pixels_in_ram else facts.pixel_bytes,
    }
    return Disk(kept, during)


def with_depth(facts: Facts, depth: int, train_peak: float) -> Facts:
    """The same at another depth; what a slot trains grows with the layers that it trains."""
    layers = facts.parameters.layers
    share = sum(layers[len(layers) - depth :]) / sum(layers[len(layers) - facts.depth :])
    parameters = replace(facts.parameters, adapter=round(facts.parameters.adapter * share))
    return replace(facts, parameters=parameters, depth=depth, train_peak=train_peak)
