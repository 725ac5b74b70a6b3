"""`honed export`: a run's specialist in another program's format, proven equal to what was measured, or refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.artifact import load_artifact
from honed.bases import resolve
from honed.config import Config, make_config, read_config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.errors import OutputError, RunFolderError, UsageError
from honed.events import Emitter, Listener
from honed.evidence.parity import Reading
from honed.evidence.parity_terms import ParityRows
from honed.export.format import Source
from honed.export.formats import get_format
from honed.export.proof import Measured, Original, prove
from honed.oof import Predictions
from honed.pipeline.gate import reopen_data
from honed.pipeline.reopen import finished, is_judged
from honed.pipeline.run_folder import RunFolder
from honed.serving.engine import Specialist, assemble

MAX_ROWS = 2000
"""Parity is judged on so many rows at most, drawn at random: a fault shows on any of them."""


@dataclass(frozen=True)
class ExportResult:
    """A proven export. folder : where it lies.    parity : the content of its parity.json."""

    folder: Path
    parity: dict[str, Any]


def export(
    run: str | Path,
    *,
    to: str,
    out: str | Path | None = None,
    int8: bool = False,
    listeners: Sequence[Listener] = (),
) -> ExportResult:
    """Write the specialist of a finished run for another program, load it back with that program, and compare.

    to : peft, merged or onnx.    out : a new or empty folder; the default is RUN/export/TO.
    int8 : with onnx, a second graph of 8-bit weights, whose loss is measured.

    The holdout is read only if the gate opened it before; an export never opens it.

    Raises UsageError for what cannot be exported so, OutputError if `out` holds something, RunFolderError if the run is
    damaged or its data changed, ParityError if the export differs; then it stays where it is, with its parity.json.
    """
    own = finished(run)
    chosen = get_format(to, int8=int8)
    info = load_artifact(own.adapter).info
    if info.task == "instruction":
        raise UsageError(
            f"The specialist of {run} writes; exports are of specialists that classify.",
            remedy=f"{own.adapter} is in PEFT's own format: load it over AutoModelForCausalLM with "
            "PeftModel.from_pretrained, and use the chat template in its honed.json.",
        )
    n_averaged = info.reading.get("n_averaged", 1)
    if n_averaged > 1:
        raise UsageError(
            f"{run} averages its predictions over {n_averaged} views of each image, which no other program does.",
            remedy="Train it with --no-average-views, the default, or use `honed predict`.",
        )
    chosen.check(own.adapter, info)
    target = export_folder(own.path, to, out)
    _check_free(target)
    emitter = Emitter(tuple(listeners))
    config, dataset, plan = _reopen(own, emitter)
    source = _load(own, config, emitter, int8=int8)
    measured = _measure(own, config, dataset, plan, source.specialist)
    original = _original(own, config, source)
    with emitter.stage("export", f"Writing {target}"), _whole(target) as partial:
        chosen.write(partial, source)
    del source  # its model was used up, and the other program needs the memory
    return _prove(target, to, measured, original, emitter)


def recheck(
    run: str | Path, *, to: str, out: str | Path | None = None, listeners: Sequence[Listener] = ()
) -> ExportResult:
    """Load an existing export back again and compare it anew; rewrites its parity.json and nothing else.

    Raises UsageError if `out` (default RUN/export/TO) holds no such export, RunFolderError and ParityError as `export`.
    """
    own = finished(run)
    chosen, target = get_format(to), export_folder(own.path, to, out)
    if not chosen.is_in(target):
        raise UsageError(
            f"{target} holds no export that `--to {to}` made.",
            remedy=f"Make one with `honed export {run} --to {to} --out {target}`.",
        )
    emitter = Emitter(tuple(listeners))
    config, dataset, plan = _reopen(own, emitter)
    source = _load(own, config, emitter)
    measured = _measure(own, config, dataset, plan, source.specialist)
    return _prove(target, to, measured, _original(own, config, source), emitter)


def export_folder(run: Path, to: str, out: str | Path | None) -> Path:
    """Where an export goes: `out`, or RUN/export/TO."""
    return Path(out) if out is not None else run / "export" / to


def _reopen(run: RunFolder, emitter: Emitter) -> tuple[Config, Dataset, FoldPlan]:
    config = make_config(read_config(run.config))
    with emitter.stage("check", f"Reading {config.data} again"):
        return config, *reopen_data(run, config)


def _load(run: RunFolder, config: Config, emitter: Emitter, *, int8: bool = False) -> Source:
    with emitter.stage("load", "Loading the specialist"):
        artifact = load_artifact(run.adapter)
        base = resolve(artifact.info.base, revision=artifact.info.base_revision)
        return Source(assemble(artifact, base, device=config.device), run.adapter, base, int8)


def _measure(run: RunFolder, config: Config, dataset: Dataset, plan: FoldPlan, specialist: Specialist) -> Measured:
    """The logits of the opened holdout as the gate saw them; else fresh ones of development rows, without labels."""
    is_open = is_judged(run)
    rows = plan.holdout if is_open else plan.development
    position = {str(dataset.example_id[i]): i for i in rows.tolist()}
    holdout = Predictions.read(run.holdout) if is_open else None
    ids = _drawn(sorted(holdout.example_id.tolist() if holdout else position))
    if not position.keys() >= set(ids):
        raise RunFolderError(
            f"{run.holdout} holds rows that folds.parquet does not have in the holdout.",
            cause="The files of this run folder do not belong together.",
            remedy="Copy the whole run folder again.",
        )
    at = np.array([position[example] for example in ids])
    inputs = [dataset.inputs[i] for i in at]
    if holdout is None:
        logits = specialist.logits(inputs)
    else:
        assert holdout.logits is not None, "the rows of a classifier have logits"
        order = {example: i for i, example in enumerate(holdout.example_id.tolist())}
        logits = holdout.logits[[order[example] for example in ids]]
    task = specialist.stack.task
    tokens = task.as_read(task.encode(inputs))
    return Measured(
        is_holdout=is_open,
        rows=ParityRows(dataset.example_id[at], plan.group[at], dataset.label[at] if is_open else None, plan.fold[at]),
        inputs=inputs,
        reading=Reading(logits, specialist.label_names, tokens),
        n_available=len(rows),
        metric=config.metric,
        level=config.level,
    )


def _drawn(ids: Sequence[str]) -> list[str]:
    """At most MAX_ROWS of the sorted ids, the same ones at every call, in their order."""
    if len(ids) <= MAX_ROWS:
        return list(ids)
    drawn: npt.NDArray[np.int64] = np.random.default_rng(0).choice(len(ids), MAX_ROWS, replace=False)
    return [ids[i] for i in np.sort(drawn)]


def _original(run: RunFolder, config: Config, source: Source) -> Original:
    def load() -> Specialist:
        return assemble(load_artifact(run.adapter), source_base, device=config.device)

    source_base = source.base  # and not the source, whose model must be let go
    return Original(source.info, source_base.path, source.specialist.stack.device, load)


def _prove(target: Path, to: str, measured: Measured, original: Original, emitter: Emitter) -> ExportResult:
    with emitter.stage("parity", f"Loading {target} back with the other program, and comparing"):
        return ExportResult(target, prove(target, to, measured, original, emitter))


def _check_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        what = "is not empty" if target.is_dir() else "is a file"
        raise OutputError(
            f"{target} {what}; nothing was overwritten.",
            remedy="Name a new folder with --out, or prove that export again with --check.",
        )


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block is through: no half export under that name.

    Raises OutputError if it cannot be written.
    """
    from safetensors import SafetensorError

    partial = target.with_name(target.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rmdir()  # it is empty
        partial.rename(target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"The export {target} could not be written: {reason}.", remedy="Free space or choose another --out."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # it is gone if all went well
