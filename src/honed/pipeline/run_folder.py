"""Where a run lives on disk, and how its folder is claimed without overwriting anything."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from honed.errors import OutputError, RunFolderError

COMPARISON = "comparison.yaml"
"""The file that makes a folder of runs a comparison."""
WORKING = "working"
"""The folder in that of an audit that is not through."""


class RunFolder:
    """Paths of one run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.dataset = path / "dataset.json"
        self.folds = path / "folds.parquet"
        self.issues = path / "issues.parquet"
        self.texts = path / "texts.parquet"
        self.events = path / "events.jsonl"
        self.oof = path / "oof.parquet"
        self.holdout = path / "holdout.parquet"
        self.metrics = path / "metrics.json"
        self.verdict = path / "verdict.json"
        self.adapter = path / "adapter"
        self.report = path / "report.html"
        self.checkpoint = path / "checkpoint"
        self.baselines = path / "baselines"
        self.labels = path / "labels.parquet"
        self.thumbnails = path / "thumbnails.parquet"
        self.reader = path / "reader.parquet"
        self.cleaning = path / "cleaning.parquet"
        self.attention = path / "attention"
        self.safety = path / "safety.parquet"
        self.forgetting = path / "forgetting.parquet"
        self.replies = path / "replies.parquet"
        self.detector = path / "detector.parquet"
        self.generations = path / "generations.parquet"
        self.preferences = path / "preferences.parquet"
        self.measured = path / "measured.json"

    @property
    def beside(self) -> Path:
        """Where the ledger of openings lies: beside the run, or beside the comparison that the run is part of."""
        parent = self.path.absolute().parent
        return parent.parent if (parent / COMPARISON).exists() else parent

    @property
    def is_complete(self) -> bool:
        """Whether the run went through to its report."""
        return self.verdict.exists() and self.report.exists()

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON object of the run folder.

        Raises RunFolderError if it is missing or damaged.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(value, dict):
                raise ValueError("it is not a JSON object")
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{path} cannot be read: {error}",
                remedy=f"If the run was interrupted, continue it with `honed fit --resume {self.path}`.",
            ) from error
        return value


def claim(out: str | None, stem: str, parent: str = "runs") -> RunFolder:
    """A new, empty, writable run folder: `out`, or the first free PARENT/STEM-N.

    Raises OutputError if `out` holds something or cannot be written.
    """
    command = "audit" if parent == "audits" else "fit"
    if out is not None:
        path = Path(out)
        if path.exists() and not path.is_dir():
            raise OutputError(f"--out {out} is a file, not a folder.", remedy="Name a new folder.")
        if path.exists() and any(path.iterdir()):
            raise OutputError(
                f"--out {out} is not empty; nothing was overwritten.",
                remedy=f"Name a new folder, or continue what is there with `honed {command} --resume {out}`."
                if command == "fit" or (path / WORKING).exists()
                else "Name a new folder.",
            )
        candidates = [path]
    else:
        candidates = [Path(parent) / f"{stem}-{n}" for n in range(1, 10_000)]
    for path in candidates:
        try:
            path.mkdir(parents=True, exist_ok=out is not None)
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(
                f"The run folder {path} cannot be made: {error.strerror}.", remedy="Choose another --out."
            ) from error
        if not os.access(path, os.W_OK):
            raise OutputError(f"The run folder {path} cannot be written.", remedy="Choose another --out.")
        return RunFolder(path)
    raise OutputError(f"{parent}/ holds ten thousand runs of this name.", remedy="Name one with --out.")


def existing(path: str | Path) -> RunFolder:
    """The run folder at `path`.

    Raises RunFolderError if it is not one.
    """
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        raise RunFolderError(f"There is no run folder {path}.", remedy="`honed fit` prints the folder that it writes.")
    if not folder.config.exists():
        raise RunFolderError(
            f"{path} is not a run folder: it has no config.yaml.", remedy="Name the folder that `honed fit` wrote."
        )
    return folder
