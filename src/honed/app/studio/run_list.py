"""The runs below a folder, as they are: finished, going on, interrupted, damaged.

A run is known by its path below the folder, and is only ever found by looking for it there: what a client sends is
compared with the names that were found, and never becomes a path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from honed.errors import HonedError, RunFolderError
from honed.evidence.language_scores import LOSS_SCORES, REPLY_SCORES
from honed.evidence.report_format import METRICS, Figure, Metric, figure, range_text, value_text
from honed.pipeline.run_folder import COMPARISON, RunFolder

State = Literal["finished", "unfinished", "damaged"]
OWN_FOLDER = ".studio"
"""Below the folder of runs: what the studio itself keeps."""
FIGURES = METRICS | {name: score.shown for name, score in (LOSS_SCORES | REPLY_SCORES).items()}
"""What a run may be scored by, of classes and of replies."""


@dataclass(frozen=True)
class RunCard:
    """What the list says of one run; of one that is not finished, metrics, verdict and task are empty.

    problem : why it is damaged.    changed_s : since the epoch.
    """

    name: str
    run: RunFolder
    state: State
    problem: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    verdict: dict[str, Any]
    task: str
    changed_s: float

    @property
    def word(self) -> str:
        """PASS, FAIL, INCONCLUSIVE, LOCKED, or the state of a run without a verdict."""
        if self.state != "finished":
            return self.state
        return str(self.verdict["verdict"]) if self.metrics.get("holdout") else "LOCKED"

    @property
    def data(self) -> str:
        """The name of the data, without its folder."""
        return str(self.config.get("data") or "").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_language(self) -> bool:
        """Whether the specialist writes replies; it has no classes."""
        return self.metrics.get("task") == "instruction"

    @property
    def metric(self) -> Metric:
        """The metric that the run is judged by."""
        return (
            FIGURES["loss"] if self.is_language else FIGURES.get(str(self.metrics.get("metric")), FIGURES["accuracy"])
        )

    @property
    def n_flagged(self) -> int | None:
        """How many labels look wrong; None where none was judged."""
        found = (self.metrics.get("labels") or {}).get("n_flagged")
        return found if isinstance(found, int) else None

    def figure(self, where: str, metric: str) -> Figure:
        """One figure of the specialist. where : out_of_fold or holdout."""
        found = self.metrics.get(where)
        return figure(found.get(metric) if isinstance(found, dict) else None)

    def told(self, where: str, metric: str) -> tuple[str, str]:
        """The figure as text: ('84.3 %', '80.1 – 88.0 %'), or ('', '') where there is none."""
        return _told(FIGURES[metric], self.figure(where, metric))

    def told_of_base(self, where: str, metric: str) -> tuple[str, str]:
        """The same of the base that a language specialist stands beside; of classes there is none."""
        base = (self.metrics.get("baselines") or {}).get("base")
        found = base if where == "out_of_fold" or not isinstance(base, dict) else base.get("holdout")
        return _told(FIGURES[metric], figure(found.get(metric) if isinstance(found, dict) else None))


def find_runs(root: Path) -> dict[str, RunFolder]:
    """Every run folder one or two levels below `root` by its name, such as `reviews-1` or `compare-reviews-1/lora`."""
    found = {}
    for entry in _folders(root):
        if (Path(entry.path) / "config.yaml").is_file():
            found[entry.name] = RunFolder(Path(entry.path))
            continue
        for below in _folders(Path(entry.path)):
            if (Path(below.path) / "config.yaml").is_file():
                found[f"{entry.name}/{below.name}"] = RunFolder(Path(below.path))
    return found


def find_comparisons(root: Path) -> dict[str, Path]:
    """The finished comparisons of `honed compare` in `root`, name -> page."""
    pages = {entry.name: Path(entry.path) / "comparison.html" for entry in _folders(root)
             if (Path(entry.path) / COMPARISON).is_file()}  # fmt: skip
    return {name: page for name, page in pages.items() if page.is_file()}


def find_run(root: Path, name: str) -> RunFolder:
    """The run called `name`.

    Raises RunFolderError if there is none.
    """
    run = find_runs(root).get(name)
    if run is None:
        raise RunFolderError(f"There is no run {name!r} here.", remedy="Choose one of the list.")
    return run


def list_runs(root: Path) -> list[RunCard]:
    """Every run, the latest first."""
    cards = [read_card(name, run) for name, run in find_runs(root).items()]
    return sorted(cards, key=lambda card: (-card.changed_s, card.name))


def read_card(name: str, run: RunFolder) -> RunCard:
    """What the list says of a run. A damaged one is told, never left out."""
    from honed.config import read_config

    written = (run.config, run.events, run.verdict)
    changed_s = max((path.stat().st_mtime for path in written if path.exists()), default=0)
    try:
        config = read_config(run.config)
        if not run.is_complete:
            return RunCard(name, run, "unfinished", "", config, {}, {}, "", changed_s)
        metrics, verdict = run.read_json(run.metrics), run.read_json(run.verdict)
        if verdict.get("verdict") not in ("PASS", "FAIL", "INCONCLUSIVE"):
            raise RunFolderError(f"{run.verdict.name} holds no verdict.")
        task = str(run.read_json(run.adapter / "honed.json").get("task", ""))
        return RunCard(name, run, "finished", "", config, metrics, verdict, task, changed_s)
    except HonedError as error:
        return RunCard(name, run, "damaged", error.problem, {}, {}, {}, "", changed_s)


def _told(metric: Metric, fig: Figure) -> tuple[str, str]:
    return ("", "") if fig.value is None else (value_text(metric, fig.value), range_text(metric, fig))


def _folders(root: Path) -> Iterator[os.DirEntry[str]]:
    """The folders in `root`, but hidden ones and links: a link may lead anywhere."""
    try:
        with os.scandir(root) as entries:
            found = [entry for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."]
    except OSError:
        return
    yield from sorted(found, key=lambda entry: entry.name)
