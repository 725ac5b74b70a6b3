"""`honed predict`: a specialist answers for every row of a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from honed.artifact import load_artifact
from honed.data.images import UnreadableImage
from honed.data.loading import LoadedData, load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.errors import RunFolderError
from honed.events import Emitter
from honed.evidence.clinical import positive_probability
from honed.evidence.metrics import median_grade
from honed.pipeline.output_file import csv_bytes, write_output
from honed.serving.engine import load_specialist

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Answers:
    """The predictions of n rows, in the order of the input.

    example_id : (n,).    probs : (n, c), calibrated, in the order of `label_names`.
    ordinal : the classes are grades in their order; then there is a column `grade`, the median one.
    positive, threshold : the classes that count as ill, and the probability from which on a row is called so; then
    there is a column `positive`.
    """

    example_id: tuple[str, ...]
    probs: npt.NDArray[np.float64]
    label_names: tuple[str, ...]
    ordinal: bool = False
    positive: tuple[str, ...] = ()
    threshold: float | None = None

    @property
    def prediction(self) -> list[str | None]:
        """The class of each row; None for an image that could not be read, whose probabilities are NaN."""
        unread = np.isnan(self.probs[:, 0])
        return self._names(np.where(unread, -1, np.nan_to_num(self.probs).argmax(axis=1)))

    @property
    def grade(self) -> list[str | None]:
        """The median grade of each row: half of the probability lies at or below it; None as for `prediction`."""
        unread = np.isnan(self.probs[:, 0])
        return self._names(np.where(unread, -1, median_grade(np.nan_to_num(self.probs))))

    @property
    def called_ill(self) -> list[int | None]:
        """1 or 0 by the operating point; None as for `prediction`."""
        assert self.threshold is not None
        p = positive_probability(self.probs, [self.label_names.index(name) for name in self.positive])
        return [None if np.isnan(value) else int(value >= self.threshold) for value in p.tolist()]

    def _names(self, classes: npt.NDArray[np.int64]) -> list[str | None]:
        return [None if j < 0 else self.label_names[j] for j in classes.tolist()]

    def table(self) -> pa.Table:
        """Columns example_id, prediction, grade (of grades), positive (by an operating point), prob_0 .. prob_{c-1}."""
        import pyarrow as pa

        columns: dict[str, Any] = {
            "example_id": pa.array(self.example_id, pa.string()),
            "prediction": pa.array(self.prediction, pa.string()),
        }
        if self.ordinal:
            columns["grade"] = pa.array(self.grade, pa.string())
        if self.threshold is not None:
            columns["positive"] = pa.array(self.called_ill, pa.int8())
        columns |= {f"prob_{j}": self.probs[:, j] for j in range(len(self.label_names))}
        return pa.table(columns)

    def csv(self) -> bytes:
        """The table as UTF-8 CSV."""
        return csv_bytes(self.table())

    def write(self, path: Path) -> None:
        """Write CSV or Parquet, by the suffix, whole or not at all.

        Raises OutputError if the file cannot be written.
        """
        write_output(path, self.csv() if path.suffix.lower() == ".csv" else self.table())


def adapter_folder(run: Path) -> Path:
    """The artifact of a run folder, or `run` itself if it is one.

    Raises RunFolderError if there is none.
    """
    if (run / "honed.json").exists():
        return run
    if (run / "adapter" / "honed.json").exists():
        return run / "adapter"
    if not run.is_dir():
        raise RunFolderError(f"There is no run folder {run}.", remedy="`honed fit` prints the folder that it writes.")
    remedy = f"If the run was interrupted, continue it with `honed fit --resume {run}`."
    raise RunFolderError(
        f"{run} holds no specialist: neither honed.json nor adapter/honed.json is there.",
        remedy=remedy if (run / "config.yaml").exists() else "Name the folder that `honed fit` wrote.",
    )


def trained_roles(run: Path) -> Roles:
    """The columns that the run was trained on; none are named where the run folder does not say."""
    facts = (run.parent if (run / "honed.json").exists() else run) / "dataset.json"
    if not facts.exists():
        return Roles()
    try:
        roles = json.loads(facts.read_text(encoding="utf-8"))["roles"]
        text = None if roles["template"] else roles["text"]
        return Roles(text=text, template=roles["template"], id=roles["id"], image=roles.get("image"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{facts} cannot be read.",
            cause=f"{type(error).__name__}: {error}",
            remedy=f"Copy the whole run folder again, or name its adapter folder: {run / 'adapter'}.",
        ) from error


def read_new_rows(run: Path, source: str, roles: Roles, label_names: tuple[str, ...]) -> LoadedData:
    """All rows of a file, with or without a label. roles : columns that the user named; the rest is as in training.

    Raises UsageError for a missing column, DataError for an unreadable file.
    """
    trained = trained_roles(run)
    if roles.text is None and roles.template is None and roles.image is None:
        roles = replace(roles, text=trained.text, template=trained.template, image=trained.image)
    table = read_table(source)
    if roles.id is None and trained.id in table.column_names:
        roles = replace(roles, id=trained.id)
    return load_dataset(table, replace(roles, group=""), require_label=False, label_names=label_names)


def predict_file(run: Path, source: str, roles: Roles, *, device: str = "auto", emitter: Emitter) -> Answers:
    """Predict every row of a file.

    roles : columns that the user named; what is not named is as it was in training.

    Raises UsageError for a missing column, DataError for an unreadable file, RunFolderError for a damaged run.
    """
    folder = adapter_folder(run)
    names = load_artifact(folder).info.label_names
    with emitter.stage("check", f"Reading {source}"):
        loaded = read_new_rows(run, source, roles, names)
    with emitter.stage("load", "Loading the specialist"):
        specialist = load_specialist(folder, device=device)
    dataset = loaded.dataset
    read = [i for i, value in enumerate(dataset.inputs) if not isinstance(value, UnreadableImage)]
    for i in sorted(set(range(len(dataset))) - set(read)):
        reason = dataset.inputs[i].problem
        emitter.emit(
            "warning", f"Row {i + 1} has no prediction: {reason}.", row=i, example_id=str(dataset.example_id[i])
        )
    probs = np.full((len(dataset), len(names)), np.nan)
    with emitter.stage("predict", f"Predicting {len(read)} rows"):
        probs[read] = specialist.probabilities([dataset.inputs[i] for i in read], emitter)
    ids = tuple(dataset.example_id.tolist())
    info = specialist.artifact.info
    return Answers(ids, probs, info.label_names, info.ordinal, info.positive, info.threshold)
