"""The clinical reading of a run: what was asked, the second reader's labels, the point that ships, the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.artifact import ArtifactInfo
from honed.config import Config, flag
from honed.data.dataset import UNLABELLED, Dataset
from honed.data.tables import write_parquet
from honed.errors import EvidenceError, UsageError
from honed.evidence.calibration import CalibrationSummary
from honed.evidence.clinical import Point, Reading, positive_classes, read_holdout, read_out_of_fold
from honed.oof import Predictions
from honed.pipeline.requirements import requirements_of
from honed.pipeline.scoring import Groups

Json = dict[str, Any]


def check_reading(config: Config) -> None:
    """Raises UsageError if something is asked of a clinical reading without saying who counts as ill."""
    if config.positive:
        return
    asked = [
        f"{flag(name)} {value}"
        for name in ("sensitivity", "prevalence", "reader")
        if (value := getattr(config, name)) is not None
    ]
    asked += [f"--require {own.text!r}" for own in requirements_of(config) if own.is_clinical]
    if asked:
        raise UsageError(
            f"{asked[0]} is part of the clinical reading, which was not asked for.",
            cause="Nothing says which classes count as ill.",
            remedy="Name them: --positive LABEL, or --positive LABEL,LABEL.",
        )


def reading_of(config: Config, label_names: Sequence[str]) -> Reading | None:
    """The clinical reading that the configuration asks for, if any. Raises UsageError as `positive_classes` does."""
    if not config.positive:
        return None
    positive = positive_classes(config.positive, label_names)
    return Reading(positive, config.level, config.sensitivity, config.prevalence)


def write_reader(path: Path, dataset: Dataset) -> None:
    """Keep the second reader's classes (null where none read), so that every figure can be computed again."""
    if dataset.reader is None:
        return
    import pyarrow as pa

    ids = pa.array(dataset.example_id.tolist(), pa.string())
    reader = pa.array(dataset.reader, pa.int64(), mask=dataset.reader == UNLABELLED)
    write_parquet(pa.table({"example_id": ids, "reader": reader}), path)


def _reader_of(table: Predictions, dataset: Dataset) -> npt.NDArray[np.int64] | None:
    """The second reader's class of each scored row."""
    if dataset.reader is None:
        return None
    said = dict(zip(dataset.example_id.tolist(), dataset.reader.tolist(), strict=True))
    return np.array([said[example] for example in table.example_id.tolist()], dtype=np.int64)


def out_of_fold_reading(
    reading: Reading, table: Predictions, group: Groups, calibration: CalibrationSummary, dataset: Dataset
) -> tuple[Point | None, Json]:
    """The point that ships, and the part `clinical` of the out-of-fold figures. No point, with the reason, where the
    rows do not allow to choose one.
    """
    try:
        return read_out_of_fold(
            table, group, reading, calibration.per_fold, calibration.temperature, _reader_of(table, dataset)
        )
    except EvidenceError as error:
        return None, {"not_run": f"not run, because {error}"}


def not_run_of(clinical: Json) -> tuple[str, ...]:
    """What of a reading could not be computed, as "NAME, because REASON" (honesty rule 8)."""
    parts = {"clinical reading": clinical} | {f"clinical reading, {name}": part for name, part in clinical.items()}
    reasons = {name: part.get("not_run") for name, part in parts.items() if isinstance(part, dict)}
    return tuple(f"{name}, {reason.removeprefix('not run, ')}" for name, reason in reasons.items() if reason)


def holdout_reading(
    reading: Reading, info: ArtifactInfo, table: Predictions, group: Groups, prevalence: float | None, dataset: Dataset
) -> Json:
    """The part `clinical` of the holdout's figures: the artifact's own operating point, unchanged.

    prevalence : of the out-of-fold figures; None if these have no operating point.
    """
    if info.threshold is None or prevalence is None:
        return {"not_run": "not run, because the artifact has no operating point"}
    point = Point(info.threshold, prevalence)
    return read_holdout(table, group, reading, point, info.temperature, _reader_of(table, dataset))
