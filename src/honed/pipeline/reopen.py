"""`honed gate`: judge a finished run whose holdout is still shut, or judge it again on further conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from honed.config import make_config, read_config, write_config
from honed.errors import RunFolderError
from honed.events import Emitter, JsonLinesListener, Listener
from honed.pipeline.clinical import check_reading
from honed.pipeline.finish import finish
from honed.pipeline.gate import open_gate, reopen_data
from honed.pipeline.machine import disk_faults
from honed.pipeline.requirements import requirements_of
from honed.pipeline.run_folder import RunFolder, existing
from honed.pipeline.settle import check_grades


def finished(path: str | Path) -> RunFolder:
    """The run folder at `path`, which went through to its report.

    Raises RunFolderError if it is none, or was interrupted.
    """
    run = existing(path)
    for needed in (run.metrics, run.verdict, run.folds, run.dataset, run.adapter):
        if not needed.exists():
            raise RunFolderError(
                f"{run.path} lacks {needed.name}: the run is not finished.",
                remedy=f"Continue it with `honed fit --resume {run.path}`.",
            )
    return run


def is_judged(run: RunFolder) -> bool:
    """Whether the holdout of this run was opened."""
    return isinstance(run.read_json(run.metrics).get("holdout"), dict) and run.holdout.exists()


def gate(path: str | Path, require: Sequence[str] = (), listeners: Sequence[Listener] = ()) -> tuple[RunFolder, bool]:
    """Open the holdout of a finished run and judge its artifact; returns the run, and whether the holdout was opened.

    require : conditions beside those of the run. A run that was judged before is left as it is unless there are any;
    then the holdout is opened again, which counts as a further look.

    Raises RunFolderError if the run is not finished or its data changed, UsageError for a senseless condition.
    """
    run = finished(path)
    if is_judged(run) and not require:
        return run, False
    config = make_config(read_config(run.config))
    asked = tuple(dict.fromkeys((*config.require, *require)))
    config = config.model_copy(update={"require": asked, "gate": True})
    check_grades(config)
    check_reading(config)
    names = tuple(run.read_json(run.dataset).get("label_names", ()))
    requirements_of(config, names or None)
    emitter = Emitter(tuple(listeners))
    with disk_faults(run.path):
        emitter.listen(JsonLinesListener(run.events))
        with emitter.stage("check", f"Reading {config.data} again"):
            dataset, plan = reopen_data(run, config)
        with emitter.stage("gate", "Opening the locked holdout for the artifact that ships"):
            verdict = open_gate(run, config, dataset, plan, emitter)
        write_config(config, run.config)
        finish(run, emitter, verdict)
    return run, True
