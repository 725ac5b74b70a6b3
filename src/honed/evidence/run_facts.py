"""Reading a run folder, and nothing but the folder, into the facts that the report and the model card are made of."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.errors import OutputError, RunFolderError
from honed.evidence.label_table import LabelTable
from honed.oof import Predictions

Json = dict[str, Any]
"""A JSON object of the run folder."""

_REMEDY = "If the run was interrupted, continue it with `honed fit --resume {run}`; otherwise run `honed fit` again."
_VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")


@dataclass(frozen=True)
class RunFacts:
    """What a run folder holds.

    config, dataset, metrics, verdict : the JSON (or YAML) objects of the same names.
    adapter : `adapter/honed.json`, or {} where there is none.
    oof : the out-of-fold table.           holdout : the holdout's table, or None while the gate is shut.
    fold_sizes : fold -> rows, -1 is the holdout.
    n_stop : rows of the stop parts.
    issues : rows of `issues.parquet`, or None if the file is absent.
    texts : example_id -> text, or None if the run kept no texts.
    thumbnails : example_id -> rows of `thumbnails.parquet`: of the images that the report shows; None without.
    labels : the judged labels, or None if the run judged none (--clean off).
    events : the lines of `events.jsonl`; `n_damaged_events` of them could not be read and are left out.
    """

    run: Path
    config: Json
    dataset: Json
    metrics: Json
    verdict: Json
    adapter: Json
    oof: Predictions
    holdout: Predictions | None
    fold_sizes: dict[int, int]
    n_stop: int
    issues: list[Json] | None
    texts: dict[str, str] | None
    labels: LabelTable | None
    thumbnails: dict[str, Json] | None
    events: list[Json]
    n_damaged_events: int

    @property
    def label_names(self) -> list[str]:
        """The classes, in the order of the logits."""
        return [str(name) for name in self.metrics["label_names"]]


def read_run(run: Path) -> RunFacts:
    """Read a run folder.

    Raises RunFolderError if a mandatory file (config.yaml, dataset.json, folds.parquet, oof.parquet, metrics.json,
    verdict.json) is missing, if any file that is there is truncated, or if the files contradict each other.
    """
    if not run.is_dir():
        raise RunFolderError(
            f"{run} is not a run folder: there is no such directory.",
            remedy="Name the folder that `honed fit` wrote (its --out).",
        )
    metrics = _read_json(run, "metrics.json", ("label_names", "out_of_fold"))
    verdict = _read_json(run, "verdict.json", ("verdict",))
    if verdict["verdict"] not in _VERDICTS:
        raise _damaged(run, "verdict.json", f"its verdict is {verdict['verdict']!r}, not one of {', '.join(_VERDICTS)}")
    folds = read_rows(run, "folds.parquet", ("example_id", "fold"))
    fold_sizes: dict[int, int] = {}
    for row in folds:
        fold_sizes[int(row["fold"])] = fold_sizes.get(int(row["fold"]), 0) + 1
    oof = _read_predictions(run, "oof.parquet", len(metrics["label_names"]))
    has_holdout = (run / "holdout.parquet").exists()
    issues = read_rows(run, "issues.parquet", ("check", "is_issue")) if (run / "issues.parquet").exists() else None
    events, n_damaged = _read_events(run / "events.jsonl")
    return RunFacts(
        run=run,
        config=_read_config(run),
        dataset=_read_json(run, "dataset.json", ()),
        metrics=metrics,
        verdict=verdict,
        adapter=_read_json(run, "adapter/honed.json", ()) if (run / "adapter" / "honed.json").exists() else {},
        oof=oof,
        holdout=_read_predictions(run, "holdout.parquet", len(metrics["label_names"])) if has_holdout else None,
        fold_sizes=fold_sizes,
        n_stop=sum(_is_true(row.get("stop")) for row in folds),
        issues=issues,
        texts=read_texts(run),
        labels=LabelTable.read(run / "labels.parquet") if (run / "labels.parquet").exists() else None,
        thumbnails=_read_thumbnails(run),
        events=events,
        n_damaged_events=n_damaged,
    )


def read_texts(run: Path) -> dict[str, str] | None:
    """The texts of a run by example id, or None if it kept none.

    Raises RunFolderError if texts.parquet is damaged.
    """
    if not (run / "texts.parquet").exists():
        return None
    rows = read_rows(run, "texts.parquet", ("example_id", "text"))
    return {str(row["example_id"]): str(row["text"]) for row in rows}


def _read_thumbnails(run: Path) -> dict[str, Json] | None:
    if not (run / "thumbnails.parquet").exists():
        return None
    rows = read_rows(run, "thumbnails.parquet", ("example_id", "jpeg", "problem"))
    return {str(row["example_id"]): row for row in rows}


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all; a previous one stays until the new one is complete.

    Lone surrogates, which UTF-8 cannot hold, become `?`. Raises OutputError if the folder cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(text.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written.",
            cause=f"{error.strerror or error}.",
            remedy="Free some space or choose a folder that you may write to.",
        ) from error
    return path


def _damaged(run: Path, name: str, cause: str) -> RunFolderError:
    return RunFolderError(f"{run / name} cannot be used: {cause}.", remedy=_REMEDY.format(run=run))


def _read_bytes(run: Path, name: str) -> str:
    try:
        return (run / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{run} lacks {name}.",
            cause="Either it is not a run folder, or the run did not get that far.",
            remedy=_REMEDY.format(run=run),
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(run, name, str(error).splitlines()[0]) from error


def _read_json(run: Path, name: str, required: tuple[str, ...]) -> Json:
    try:
        value = json.loads(_read_bytes(run, name))
    except json.JSONDecodeError as error:
        raise _damaged(run, name, f"it is truncated or not JSON (line {error.lineno}: {error.msg})") from error
    if not isinstance(value, dict):
        raise _damaged(run, name, "it holds no JSON object")
    lacking = [key for key in required if key not in value]
    if lacking:
        raise _damaged(run, name, f"it lacks {', '.join(map(repr, lacking))}")
    return value


def _read_config(run: Path) -> Json:
    import yaml

    try:
        value = yaml.safe_load(_read_bytes(run, "config.yaml"))
    except yaml.YAMLError as error:
        raise _damaged(run, "config.yaml", f"it is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(value, dict):
        raise _damaged(run, "config.yaml", "it holds no mapping")
    return {str(key): item for key, item in value.items()}


def read_rows(run: Path, name: str, required: tuple[str, ...]) -> list[Json]:
    """The rows of a Parquet file of the run folder.

    Raises RunFolderError if it is missing, damaged, or lacks a required column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not (run / name).exists():
        _read_bytes(run, name)  # tells that it is lacking
    try:
        table = pq.read_table(run / name)
        lacking = [column for column in required if column not in table.column_names]
        if lacking:
            raise _damaged(run, name, f"it lacks the column {', '.join(map(repr, lacking))}")
        rows: list[Json] = table.to_pylist()
        return rows
    except (OSError, pa.ArrowException) as error:
        raise _damaged(run, name, f"it is truncated or not Parquet ({str(error).splitlines()[0]})") from error


def _read_predictions(run: Path, name: str, n_classes: int) -> Predictions:
    if not (run / name).exists():
        _read_bytes(run, name)
    table = Predictions.read(run / name)
    if table.logits is not None and table.logits.shape[1] != n_classes:
        raise _damaged(run, name, f"it has {table.logits.shape[1]} logits where metrics.json names {n_classes} classes")
    if n_classes and len(table) and not (table.label.min() >= 0 and table.label.max() < n_classes):
        raise _damaged(run, name, f"it holds a label outside the {n_classes} classes of metrics.json")
    return table


def _read_events(path: Path) -> tuple[list[Json], int]:
    if not path.exists():
        return [], 0
    events: list[Json] = []
    n_damaged = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            value = None
        if isinstance(value, dict):
            events.append(value)
        else:
            n_damaged += 1
    return events, n_damaged


def _is_true(value: object) -> bool:
    return value is not None and bool(value) and value != -1
