"""What `honed audit` leaves behind: a fresh folder, claimed before the long work.

audit.json      every figure with its interval, the settings, the summary in words
audit.html      the same, to look at
audit.parquet   row by row: example_id, group, arm, rate, draw, fold, label, prediction, loss, taught (the label that
                was planted, or the given one, before any cleaning); on noisy rows also quality and is_flagged, which
                is what the finder said of `taught`
"""

from __future__ import annotations

from collections.abc import Sequence
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
from honed.evidence.audit_report import write_audit
from honed.evidence.audit_words import summary
from honed.pipeline.audit import AuditOptions, audit
from honed.pipeline.prepare import DEMO_DATA
from honed.pipeline.run_folder import claim

if TYPE_CHECKING:
    import pyarrow as pa

_UNUSED = frozenset(("data", "out", "clean", "decisions", "gate", "require", "metric", "keep_texts", "test_file"))
"""Settings of a run that an audit has no use for."""


@dataclass(frozen=True)
class Audited:
    """A finished audit. figures : what audit.json holds."""

    path: Path
    figures: dict[str, Any]

    @property
    def page(self) -> Path:
        """The report."""
        return self.path / "audit.html"


def audit_into_folder(
    config: Config, options: AuditOptions, out: str | None = None, listeners: Sequence[Listener] = ()
) -> Audited:
    """Audit, and write everything to `out`, a new folder, or to the first free audits/NAME-N.

    Raises a HonedError; then nothing is left behind.
    """
    options.check()
    stem = "demo" if config.data == DEMO_DATA else Path(config.data).stem
    is_new = out is None or not Path(out).exists()
    path = claim(out, stem or "audit", "audits").path
    try:
        figures = _write(path, audit(config, options, listeners), config, options)
    except BaseException:
        if is_new:
            with suppress(OSError):
                path.rmdir()  # it holds nothing, else this refuses
        raise
    return Audited(path, figures)


def _write(path: Path, result: Audit, config: Config, options: AuditOptions) -> dict[str, Any]:
    figures = result.to_json()
    used = config.model_dump(mode="json", exclude=set(_UNUSED), exclude_defaults=True)
    figures["settings"] = {"seed": config.seed, "folds": config.folds, "epochs": config.epochs, **used}
    figures["summary"] = summary(figures)
    try:
        write_parquet(_table(result), path / "audit.parquet")
        write_audit(path / "audit.html", figures)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}.", remedy="Free space or choose another --out."
        ) from error
    write_json(path / "audit.json", figures)
    return figures


def _table(result: Audit) -> pa.Table:
    import pyarrow as pa

    names = np.array(result.label_names, dtype=np.str_)
    scenarios = {(one.rate, one.draw): one for one in result.scenarios}
    tables = []
    for arm in result.arms:
        table, scenario = arm.table, scenarios.get((arm.rate, arm.draw))
        assert table.logits is not None, "a classifier has logits"
        taught = table.label if scenario is None else scenario.label
        found = scenario.found if scenario is not None and arm.name == "noisy" else None
        texts = {
            "example_id": table.example_id, "group": result.group, "arm": np.full(len(table), arm.name),
            "label": names[table.label], "prediction": names[table.logits.argmax(axis=1)], "taught": names[taught],
        }  # fmt: skip
        columns = {name: pa.array(column.tolist(), pa.string()) for name, column in texts.items()}
        columns |= {
            "rate": pa.array(np.full(len(table), arm.rate)), "draw": pa.array(np.full(len(table), arm.draw)),
            "fold": pa.array(table.fold), "loss": pa.array(table.loss),
            "quality": pa.nulls(len(table), pa.float64()) if found is None else pa.array(found.quality),
            "is_flagged": pa.nulls(len(table), pa.bool_()) if found is None else pa.array(found.is_flagged.tolist()),
        }  # fmt: skip
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)
