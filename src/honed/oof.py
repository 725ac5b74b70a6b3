"""The waist: the torch half of honed writes these tables, the numpy half reads them.

`Predictions` are rows that some fold's model scored; `OutOfFold` is the table of a whole cross-validation, checked:
every row scored by the one fold that never saw it, no holdout row, nothing missing, nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.data.tables import write_parquet
from honed.errors import EvidenceError, RunFolderError

HOLDOUT_FOLD = -1


@dataclass(frozen=True)
class Predictions:
    """m scored rows.

    example_id : (m,) strings.       repeat : (m,) int64, which repetition of the cross-validation.
    fold : (m,) int64, the fold whose model scored the row (it never trained on it); -1 is the holdout.
    label : (m,) int64, index into the label names.
    loss : (m,) float64, nats.       weight : (m,) float64, >= 0.
    logits : (m, c) float64 before any temperature, or None where the task has no classes.
    """

    example_id: npt.NDArray[np.str_]
    repeat: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.example_id)

    def take(self, index: npt.ArrayLike) -> Predictions:
        """The rows at the positions (or where the mask is true), in that order."""
        idx = np.asarray(index)
        return Predictions(
            self.example_id[idx],
            self.repeat[idx],
            self.fold[idx],
            self.label[idx],
            self.loss[idx],
            self.weight[idx],
            None if self.logits is None else self.logits[idx],
        )

    def write(self, path: Path) -> None:
        """Write the table as Parquet, in the columns that the run folder promises."""
        import pyarrow as pa

        columns: dict[str, object] = {
            "example_id": pa.array(self.example_id.tolist(), pa.string()),
            "repeat": self.repeat,
            "fold": self.fold,
            "label": self.label,
            "loss": self.loss,
            "weight": self.weight,
        }
        if self.logits is not None:
            columns |= {f"logit_{j}": self.logits[:, j] for j in range(self.logits.shape[1])}
        write_parquet(pa.table(columns), path)

    @staticmethod
    def read(path: Path) -> Predictions:
        """Read a table that `write` wrote.

        Raises RunFolderError if the file is missing, truncated or lacks a column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            n_classes = sum(name.startswith("logit_") for name in table.column_names)

            def column(name: str, dtype: type) -> Any:
                return table.column(name).to_numpy().astype(dtype)

            return Predictions(
                example_id=np.asarray(table.column("example_id").to_pylist(), dtype=np.str_),
                repeat=column("repeat", np.int64),
                fold=column("fold", np.int64),
                label=column("label", np.int64),
                loss=column("loss", np.float64),
                weight=column("weight", np.float64),
                logits=np.stack([column(f"logit_{j}", np.float64) for j in range(n_classes)], axis=1)
                if n_classes
                else None,
            )
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise RunFolderError(
                f"{path} cannot be read as a table of predictions.",
                cause=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="If the run was interrupted, continue it with `honed fit --resume`; else run `honed fit` again.",
            ) from error


@dataclass(frozen=True)
class OutOfFold:
    """A checked out-of-fold table; build it with `OutOfFold.check`."""

    predictions: Predictions
    n_folds: int
    n_repeats: int
    label_names: tuple[str, ...]
    dataset_fingerprint: str

    @staticmethod
    def check(
        predictions: Predictions,
        *,
        planned_fold: dict[str, int],
        label_names: tuple[str, ...],
        dataset_fingerprint: str,
        plan_fingerprint: str,
    ) -> OutOfFold:
        """Check predictions against the fold plan.

        planned_fold : example_id -> fold (-1 = holdout) of every row of the dataset.
        dataset_fingerprint, plan_fingerprint : of the data at hand, and of the data for which the plan was made.

        Raises EvidenceError for a foreign fingerprint, a duplicate (example_id, repeat), a holdout row, an unknown
        row, a row scored by another fold than planned, a missing row, a label outside the names, or a value that is
        not finite.
        """

        def refuse(problem: str, cause: str = "") -> None:
            raise EvidenceError(f"The out-of-fold table was refused: {problem}", cause=cause)

        if dataset_fingerprint != plan_fingerprint:
            refuse(
                f"it belongs to a dataset with fingerprint {plan_fingerprint[:12]}, not {dataset_fingerprint[:12]}.",
                "The data changed after the folds were made.",
            )
        p = predictions
        keys = list(zip(p.example_id.tolist(), p.repeat.tolist(), strict=True))
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            refuse(f"example {twice[0]!r} is scored twice in repeat {twice[1]}.")
        for example, fold in zip(p.example_id.tolist(), p.fold.tolist(), strict=True):
            if example not in planned_fold:
                refuse(f"example {example!r} is not in the fold plan.")
            if planned_fold[example] == HOLDOUT_FOLD:
                refuse(f"example {example!r} belongs to the locked holdout.", "Only the gate may score it.")
            if planned_fold[example] != fold:
                refuse(f"example {example!r} was scored by fold {fold} but belongs to fold {planned_fold[example]}.")
        n_repeats = int(p.repeat.max()) + 1 if len(p) else 0
        expected = sum(fold != HOLDOUT_FOLD for fold in planned_fold.values()) * n_repeats
        if len(p) != expected or not len(p):
            refuse(f"it has {len(p)} rows where {expected} were planned.")
        values = [p.loss, p.weight] + ([] if p.logits is None else [p.logits])
        if not all(np.isfinite(v).all() for v in values):
            refuse("it holds values that are not finite.", "A fold's model diverged.")
        if (p.label < 0).any() or (p.label >= max(len(label_names), 1)).any():
            refuse("it holds labels outside the label names.")
        return OutOfFold(p, len(set(p.fold.tolist())), n_repeats, label_names, dataset_fingerprint)
