"""The folder of an audit.

audit.json    every figure with its interval, and the settings        audit.html    the same, to look at
audit.parquet    every row in every arm: what the figures were computed from
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from honed.artifact import write_json
from honed.config import Config
from honed.data.tables import write_parquet
from honed.errors import OutputError
from honed.events import Listener
from honed.evidence.audit import Audit
from honed.evidence.audit_report import render_audit
from honed.evidence.run_facts import write_text
from honed.pipeline.audit import AuditOptions, audit
from honed.pipeline.run_folder import claim

if TYPE_CHECKING:
    import pyarrow as pa

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
    """Audit, and write it into `config.out`, or the first free audits/STEM-N. An audit that fails leaves no folder.

    Raises a HonedError; OutputError, before any work, if `config.out` holds something.
    """
    options.check()
    was_there = config.out is not None and Path(config.out).exists()
    path = claim(config.out, Path(config.data).stem or "audit", "audits").path
    try:
        return write_audit(path, audit(config, options, listeners), _settings(config))
    except BaseException:
        if not was_there:
            with suppress(OSError):
                path.rmdir()
        raise


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
    write_json(path / "audit.json", figures)
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
