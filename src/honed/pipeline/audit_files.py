"""The folder of an audit.

audit.json    every figure with its interval, and the settings        audit.html    the same, to look at
audit.parquet    every row in every arm: what the figures were computed from
working/         while it runs, and after it was killed: settings, checkpoints, the trunk
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from honed.artifact import write_json
from honed.config import Config, make_config, read_config, write_config
from honed.data.tables import write_parquet
from honed.errors import OutputError, RunFolderError
from honed.events import Listener
from honed.evidence.audit import Audit
from honed.evidence.audit_report import render_audit
from honed.evidence.run_facts import write_text
from honed.pipeline.audit import CHECKPOINT, AuditOptions, audit
from honed.pipeline.machine import disk_faults
from honed.pipeline.run_folder import WORKING, RunFolder, claim

if TYPE_CHECKING:
    import pyarrow as pa

_FIGURES = "audit.json"
_UNUSED = frozenset(("data", "out", "clean", "decisions", "gate", "require", "metric", "keep_texts", "test_file"))
"""Settings of a run that an audit has no use for."""


@dataclass(frozen=True)
class AuditFolder:
    """Where an audit lies, and its figures (audit.json)."""

    path: Path
    figures: dict[str, Any]

    @property
    def report(self) -> Path:
        """The report, one self-contained page."""
        return self.path / "audit.html"


def audit_to_folder(config: Config, options: AuditOptions, listeners: Sequence[Listener] = ()) -> AuditFolder:
    """Audit, and write it into `config.out`, or the first free audits/STEM-N.

    One that fails before anything is trained leaves nothing; one that is interrupted later, what `resume` needs.

    Raises a HonedError; OutputError, before any work, if `config.out` holds something.
    """
    options.check()
    was_there = config.out is not None and Path(config.out).exists()
    path = claim(config.out, Path(config.data).stem or "audit", "audits").path
    working = path / WORKING
    data = str(Path(config.data).resolve()) if Path(config.data).exists() else config.data
    try:
        with disk_faults(path, "audit"):
            working.mkdir()
            write_config(config.model_copy(update={"data": data, "out": str(path)}), working / "config.yaml")
            write_json(working / "options.json", asdict(options))
        return _audit(path, config, options, listeners)
    except BaseException:
        if not (working / CHECKPOINT).exists():
            shutil.rmtree(working, ignore_errors=True)
            if not was_there:
                with suppress(OSError):
                    path.rmdir()
        raise


def resume(path: str | Path, listeners: Sequence[Listener] = ()) -> AuditFolder:
    """Continue an interrupted audit to the same result; a finished one is returned as it is.

    Raises RunFolderError if there is none, or if its data or settings changed.
    """
    folder = RunFolder(Path(path))
    if (folder.path / _FIGURES).exists():
        return AuditFolder(folder.path, folder.read_json(folder.path / _FIGURES))
    working = folder.path / WORKING
    if not (working / "options.json").exists():
        raise RunFolderError(
            f"{path} holds no interrupted audit.",
            remedy="Name the folder that `honed audit` named when it was stopped.",
        )
    stored = folder.read_json(working / "options.json")
    options = AuditOptions(**stored | {name: tuple(stored[name]) for name in ("rates", "modes")})
    return _audit(folder.path, make_config(read_config(working / "config.yaml")), options, listeners)


def _audit(path: Path, config: Config, options: AuditOptions, listeners: Sequence[Listener]) -> AuditFolder:
    working = path / WORKING
    with disk_faults(path, "audit"):
        written = write_audit(path, audit(config, options, listeners, working), _settings(config))
    shutil.rmtree(working, ignore_errors=True)
    return written


def write_audit(path: Path, audited: Audit, settings: Mapping[str, Any]) -> AuditFolder:
    """Write the three files; settings : of the training. Raises OutputError if the folder cannot be written."""
    figures = audited.to_json() | {"settings": dict(settings)}
    try:
        write_parquet(audit_table(audited), path / "audit.parquet")
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}.", remedy="Free space or choose another --out."
        ) from error
    write_text(path / "audit.html", render_audit(figures))
    write_json(path / _FIGURES, figures)
    return AuditFolder(path, figures)


def _settings(config: Config) -> dict[str, Any]:
    """What decided the training, as far as it differs from the defaults."""
    changed = config.model_dump(mode="json", exclude=set(_UNUSED), exclude_defaults=True)
    return {"method": config.method, "folds": config.folds, "epochs": config.epochs, "seed": config.seed, **changed}


def audit_table(audited: Audit) -> pa.Table:
    """A row for each example in each arm.

    group : rows of one were never split.    label : the data's own, which scores.
    planted_label : taught in the arm's training sides, before cleaning.
    quality, is_flagged : what the finder says of planted_label; null but in the arm noisy.
    """
    import pyarrow as pa

    names = np.array(audited.label_names, dtype=object)
    scenarios = {(own.rate, own.draw): own for own in audited.scenarios}
    parts = []
    for arm in audited.arms:
        table, n, scenario = arm.table, len(arm.table), scenarios.get((arm.rate, arm.draw))
        assert table.logits is not None, "a classifier has logits"
        found = scenario.found if scenario and arm.name == "noisy" else None
        planted = scenario.label if scenario else table.label
        parts.append(
            pa.table(
                {
                    "example_id": pa.array(table.example_id.tolist(), pa.string()),
                    "group": pa.array(audited.group.tolist(), pa.string()),
                    "arm": pa.array([arm.name] * n, pa.string()),
                    "rate": pa.array([arm.rate] * n, pa.float64()),
                    "draw": pa.array([arm.draw] * n, pa.int64()),
                    "fold": table.fold,
                    "label": pa.array(names[table.label], pa.string()),
                    "prediction": pa.array(names[table.logits.argmax(axis=1)], pa.string()),
                    "loss": table.loss,
                    "planted_label": pa.array(names[planted], pa.string()),
                    "quality": pa.array(found.quality if found else [None] * n, pa.float64()),
                    "is_flagged": pa.array(found.is_flagged if found else [None] * n, pa.bool_()),
                }
            )
        )
    return pa.concat_tables(parts)
