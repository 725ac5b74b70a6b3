"""The rows of a run as far as its cost goes: how many, how long, and in which batches they pass the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from honed.errors import UsageError
from honed.training.schedule import epoch_batches
from honed.training.stack import token_batches

BATCH_TOKENS = 8192
"""Padded tokens of one forward pass: `TrainingOptions.micro_batch_tokens`, `Stack.build_trunk`, `loop.predict`."""
_SIMULATED_ROWS = 4096

Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """What the rows are if they are images.

    size : of the square that the model reads, in pixels.    file_pixels : of an image file, on average.
    n_views : encodings of each image.    n_averaged : of how many of them a prediction is the mean.
    """

    size: int
    file_pixels: float
    n_views: int = 1
    n_averaged: int = 1

    @property
    def encoded_bytes(self) -> int:
        """The views of one image, as they are kept: 8-bit colours."""
        return 3 * self.size**2 * self.n_views


@dataclass(frozen=True)
class Workload:
    """The rows of a run and how they are used.

    rows : labelled rows.    lengths : tokens of some of them, as the model reads them.    characters : of a text, 0 of
    an image.    batch_rows : of one fold (`--batch-size`).    images : None for texts.    The rest as in the
    configuration.
    """

    rows: int
    lengths: Lengths
    characters: float
    n_classes: int
    folds: int
    holdout_frac: float
    stop_frac: float
    epochs: int
    batch_rows: int
    images: Images | None = None

    def __post_init__(self) -> None:
        if self.rows < 4 or self.n_classes < 2:
            raise UsageError(
                f"A run over {self.rows} rows and {self.n_classes} classes cannot be planned.",
                remedy="Name at least 4 rows and 2 classes.",
            )

    @property
    def n_slots(self) -> int:
        """The folds and the final model."""
        return self.folds + 1

    @property
    def development(self) -> int:
        """Rows outside the holdout."""
        return self.rows - self.holdout

    @property
    def holdout(self) -> int:
        """Locked rows."""
        return max(1, round(self.rows * self.holdout_frac))

    @property
    def stop(self) -> int:
        """Rows on which one fold decides when to stop."""
        return round(self.development * (self.folds - 1) / self.folds * self.stop_frac)

    @property
    def train_share(self) -> float:
        """Share of the development rows on which one fold trains."""
        return (self.folds - 1) / self.folds * (1 - self.stop_frac)

    @property
    def tokens(self) -> float:
        """Tokens of all development rows, in every view."""
        return float(self.development * self.lengths.mean()) * self.n_views

    @property
    def n_views(self) -> int:
        """Encodings of a row: those of a text are one."""
        return self.images.n_views if self.images else 1

    @property
    def n_averaged(self) -> int:
        """Passes of a row that one prediction takes."""
        return self.images.n_averaged if self.images else 1


@dataclass(frozen=True)
class Batch:
    """`rows` rows of `tokens` tokens, padding included."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Passes:
    """The forward passes over some rows: `n` like `typical`; `largest` holds the most tokens."""

    n: float
    typical: Batch
    largest: Batch


def scoring_passes(workload: Workload, rows: int, batch_tokens: int = BATCH_TOKENS) -> Passes:
    """Passes over `rows` rows sorted by length, as trunk, features and predictions make them."""
    order = _simulated(workload, min(rows, _SIMULATED_ROWS))
    batches = token_batches(np.argsort(order, kind="stable"), order, batch_tokens)
    return _passes([Batch(len(b), int(order[b].max())) for b in batches], rows / len(order))


def training_passes(workload: Workload, n_slots: int) -> tuple[Passes, float]:
    """Passes of one epoch in which `n_slots` slots train at once, and the optimizer steps of that epoch.

    The rows of a pass are counted once, however many slots train on them.
    """
    n = min(workload.development, _SIMULATED_ROWS)
    order = _simulated(workload, n)
    # A fold trains on (folds - 1) / folds of the shared batch, so that is how much larger the batch is.
    shared = round(workload.batch_rows * workload.folds / (workload.folds - 1))
    batches = epoch_batches(np.arange(n), np.arange(n) % workload.folds, order, shared, seed=0, epoch=0)
    chunks = []
    for batch in batches:
        by_length = batch[np.argsort(order[batch], kind="stable")]
        for chunk in token_batches(by_length, order, max(1, BATCH_TOKENS // n_slots)):
            chunks.append(Batch(len(chunk), int(order[chunk].max())))
    scale = workload.development / n
    return _passes(chunks, scale), len(batches) * scale


def _simulated(workload: Workload, n: int) -> Lengths:
    """Lengths of `n` rows: those that are known, drawn again in a fixed order if there are not enough."""
    known = np.sort(workload.lengths)
    at = (np.arange(n) + 0.5) / n * len(known)
    return np.random.default_rng(0).permutation(known[np.minimum(at.astype(np.int64), len(known) - 1)])


def _passes(batches: list[Batch], scale: float) -> Passes:
    tokens = sum(b.rows * b.tokens for b in batches)
    rows = sum(b.rows for b in batches)
    width = max(1, round(tokens / rows))
    typical = Batch(max(1, round(rows / len(batches))), width)
    largest = max(batches, key=lambda b: (b.rows * b.tokens, b.tokens))
    # Rows and widths were rounded, so the number of passes makes up for it: the tokens are what costs.
    return Passes(tokens / (typical.rows * typical.tokens) * scale, typical, largest)
