"""The last step of every run: the seconds of every stage, the report, the model card."""

from __future__ import annotations

from pathlib import Path

from honed.artifact import write_json
from honed.data.conversations import CONVERSATION_TASKS
from honed.events import Emitter
from honed.evidence.card import write_card
from honed.evidence.gate import Verdict
from honed.evidence.language_card import write_language_card
from honed.evidence.language_report import write_language_report
from honed.evidence.report import write_report
from honed.pipeline.run_folder import RunFolder


def finish(run: RunFolder, emitter: Emitter, verdict: Verdict) -> None:
    """Write what people read of a run that has its verdict."""
    metrics = run.read_json(run.metrics)
    timings = {**metrics.get("timings_s", {}), **{k: round(v, 3) for k, v in emitter.timings_s.items()}}
    write_json(run.metrics, {**metrics, "timings_s": timings})
    write_pages(run.path)
    emitter.emit("run.end", f"Verdict: {verdict.verdict}", verdict=verdict.verdict)


def write_pages(path: Path) -> tuple[Path, Path]:
    """The model card and the report of a run folder, from its other files.

    Raises RunFolderError if one of them is missing or truncated, OutputError if a page cannot be written.
    """
    run = RunFolder(path)
    if run.metrics.exists() and run.read_json(run.metrics).get("task") in CONVERSATION_TASKS:
        return write_language_card(path), write_language_report(path)
    return write_card(path), write_report(path)
