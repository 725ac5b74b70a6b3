"""Finished runs beside each other, paired row by row: what `honed compare` does, of runs that are there already."""

from __future__ import annotations

from collections.abc import Mapping

from honed.data.folds import FoldPlan
from honed.errors import EvidenceError
from honed.evidence.selection import Comparison, Cost, Entry, compare
from honed.oof import Predictions
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.scoring import groups_of


def side_by_side(runs: Mapping[str, RunFolder]) -> Comparison:
    """Compare finished runs by the metric of the first one. The locked holdout is not looked at.

    runs : by name, at least two.

    Raises EvidenceError if they were not scored on the same rows, folds and labels or have none (replies),
    RunFolderError for a damaged one.
    """
    if writers := [name for name, run in runs.items() if run.read_json(run.metrics).get("task") == "instruction"]:
        raise EvidenceError(
            f"{writers[0]} writes replies, and what is compared here, row by row, are predictions of classes.",
            remedy="Look at the figures of each run, or at its report: it pairs specialist and base.",
        )
    first = next(iter(runs.values()))
    entries = [_entry(name, run) for name, run in runs.items()]
    group = groups_of(entries[0].predictions, FoldPlan.read(first.folds))
    metrics = first.read_json(first.metrics)
    return compare(entries, group, metric=str(metrics["metric"]), level=float(metrics["level"]))


def _entry(name: str, run: RunFolder) -> Entry:
    metrics = run.read_json(run.metrics)
    timings, memory = metrics.get("timings_s", {}), metrics.get("memory", {})
    cost = Cost(
        trained_parameters=metrics.get("parameters", {}).get("trained"),
        seconds=timings["trunk"] + timings["train"] if {"trunk", "train"} <= timings.keys() else None,
        peak_memory_bytes=memory.get("peak_rss_bytes"),
        artifact_bytes=sum(file.stat().st_size for file in run.adapter.iterdir()),
        added_latency_s=None,  # a measurement of this machine, now; `honed compare` makes it
    )
    return Entry(name, Predictions.read(run.oof), cost)
