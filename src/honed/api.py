"""honed from Python: `fit` and `load` return a `Run`, `compare` a `Comparison`, `audit` an `Audit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from honed.app.progress import watching
from honed.config import make_config
from honed.data.image_files import checked_images
from honed.data.text_lists import checked_texts
from honed.errors import UsageError
from honed.pipeline import fit as fitting
from honed.pipeline import reopen
from honed.pipeline.compare import DEFAULT_METHODS
from honed.pipeline.predict import adapter_folder
from honed.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    from honed.serving.engine import Specialist


class Settings(TypedDict, total=False):
    """Every setting of `honed fit`, under the name of its flag; `honed.config.Config` says what each means."""

    text: str | None
    image: str | None
    label: str | None
    group: str | None
    id: str | None
    template: str | None
    messages: str | None
    prompt: str | None
    response: str | None
    system: str | None
    chosen: str | None
    rejected: str | None
    train_on: str
    test_file: str | None
    base: str
    revision: str | None
    task: str
    method: str
    method_options: dict[str, Any]
    head: str
    layers: int | str
    depth: int | str
    max_tokens: int
    image_size: int | Literal["auto"]
    image_fit: str
    views: int
    augment: str
    average_views: bool
    folds: int
    holdout_frac: float
    stop_frac: float
    epochs: int
    patience: int
    batch_size: int
    learning_rate: float | Literal["auto"] | None
    head_learning_rate: float
    weight_decay: float
    warmup_frac: float
    clip_norm: float
    balance: float
    ordinal: bool
    ordinal_head: bool
    trials: str
    n_trials: int | None
    parameters: str | None
    clean: str
    decisions: str | Path | None
    seed: int
    metric: str
    require: Sequence[str]
    positive: str | Sequence[str]
    sensitivity: float | None
    prevalence: float | None
    reader: str | None
    level: float
    gate: bool
    safety: str
    probes: Sequence[str | Path]
    margin_drop: float
    forgetting: float
    replay: float
    score: Sequence[str]
    beta: float
    detector: str | Path | None
    n_asked: int
    n_written: int
    max_new_tokens: int
    keep_texts: bool
    gradient_checkpointing: bool
    cache_frac: float
    precision: str
    device: str
    out: str | Path | None


class Run:
    """A finished run: its verdict, its figures, and the specialist, which is loaded when it is first asked."""

    def __init__(self, path: str | Path) -> None:
        self._folder = reopen.finished(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, verdict={self.verdict!r})"

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._folder.path

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INCONCLUSIVE."""
        return str(self._folder.read_json(self._folder.verdict)["verdict"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, the decisive ones first."""
        return tuple(self._folder.read_json(self._folder.verdict)["reasons"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Everything in `metrics.json`."""
        return self._folder.read_json(self._folder.metrics)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return tuple(self.metrics["label_names"])

    @property
    def report(self) -> Path:
        """The report, one self-contained page."""
        return self._folder.report

    @property
    def labels(self) -> list[dict[str, Any]]:
        """The judged labels, the worst first: example_id, row, text, given, suggested, quality, is_flagged, why, ...

        Raises RunFolderError if the run judged none (`clean="off"`).
        """
        from honed.pipeline.label_file import read_labels

        return read_labels(self.path).rows()

    def predict(self, examples: Sequence[str]) -> list[str]:
        """The class of each text, or of each image by its path."""
        names = self.label_names
        return [names[j] for j in self.predict_proba(examples).argmax(axis=1)]

    def predict_proba(self, examples: Sequence[str]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities (n, c) of texts or paths of images, in the order of `label_names`.

        Raises UsageError if the specialist writes.
        """
        if self._specialist.artifact.info.task == "instruction":
            raise UsageError("This specialist writes; it has no classes.", remedy="Use run.reply(prompts).")
        is_image = self._specialist.artifact.info.task == "image_classification"
        return self._specialist.probabilities(checked_images(examples) if is_image else checked_texts(examples))

    def reply(self, prompts: Sequence[str], *, max_new_tokens: int = 256) -> list[str]:
        """What a language specialist replies to each prompt, the likeliest token every time.

        Raises UsageError if a prompt is too long for the base, or the specialist classifies.
        """
        from honed.data.conversations import Message
        from honed.events import Emitter
        from honed.serving.generation import Writing, write_replies

        if self._specialist.artifact.info.task != "instruction":
            raise UsageError("This specialist classifies; it does not write.", remedy="Use run.predict(texts).")
        asked = [(Message("user", prompt),) for prompt in prompts]
        how = Writing(max_new_tokens)
        return write_replies(self._specialist.stack, asked, [0] * len(asked), how, Emitter())

    def gate(self, require: Sequence[str] = ()) -> str:
        """Open the holdout if it is still shut, or again if there are further conditions; returns the verdict."""
        reopen.gate(self.path, require)
        return self.verdict

    def export(self, to: str, out: str | Path | None = None, *, int8: bool = False) -> Path:
        """Write the specialist for peft, merged or onnx, and prove that it behaves the same there; returns its folder.

        Raises ParityError, with the facts, if it does not.
        """
        from honed.pipeline.export import export

        return export(self.path, to=to, out=out, int8=int8).folder

    @cached_property
    def _specialist(self) -> Specialist:
        from honed.serving.engine import load_specialist

        return load_specialist(adapter_folder(self.path))


def fit(
    data: str | Path,
    config: Mapping[str, Any] | None = None,
    *,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Run:
    """Train a specialist on a file and prove it, as `honed fit` does; `settings` win over `config`.

    data : CSV, JSONL or Parquet file, or the name of a `datasets` dataset.    progress : show it on stderr.

    A verdict of FAIL is no error here: read `run.verdict`.

    Raises a HonedError with problem, cause and remedy.
    """
    values = {**(config or {}), **settings, "data": str(data)}
    values |= {name: str(values[name]) for name in ("out", "decisions", "detector") if values.get(name) is not None}
    with watching(quiet=not progress) as watcher:
        folder: RunFolder = fitting.fit(make_config(values), [watcher])
    return Run(folder.path)


class Comparison:
    """A finished comparison: its figures, its recommendation, and the run that it recommends."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.figures: dict[str, Any] = RunFolder(self.path).read_json(self.path / "comparison.json")

    def __repr__(self) -> str:
        return f"Comparison({str(self.path)!r}, recommended={self.recommended!r})"

    @property
    def recommended(self) -> str:
        """The name of the recommended method or recipe."""
        return str(self.figures["recommended"])

    @property
    def recommendation(self) -> str:
        """The recommendation and its reason, in one sentence."""
        return str(self.figures["recommendation"])

    @property
    def run(self) -> Run:
        """The recommended run, the only one whose holdout was opened."""
        return Run(self.path / self.recommended)

    @property
    def report(self) -> Path:
        """The report, one self-contained page."""
        return self.path / "comparison.html"


def compare(
    data: str | Path,
    methods: Sequence[str] = DEFAULT_METHODS,
    recipes: Sequence[str] = (),
    *,
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Comparison:
    """Run methods and recipes on one fold plan and recommend one, as `honed compare` does; each in its own process.

    Raises a HonedError with problem, cause and remedy.
    """
    from honed.pipeline import compare as comparing
    from honed.recipes.library import read_recipe

    values: dict[str, Any] = {**settings, "data": str(data)}
    if values.get("out") is not None:
        values["out"] = str(values["out"])
    named = comparing.candidates(methods, {Path(name).stem: read_recipe(name) for name in recipes})
    with watching(quiet=not progress, command="compare") as watcher:
        return Comparison(comparing.compare(values, named, [watcher]).path)


class Audit:
    """A finished audit: its figures (audit.json) and its report."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.figures: dict[str, Any] = RunFolder(self.path).read_json(self.path / "audit.json")

    def __repr__(self) -> str:
        return f"Audit({str(self.path)!r})"

    @property
    def summary(self) -> str:
        """What it means, in plain words: a line for each rate, and whether cleaning is worth the while."""
        from honed.evidence.audit_words import summary

        return "\n".join(summary(self.figures))

    @property
    def report(self) -> Path:
        """The report, one self-contained page."""
        return self.path / "audit.html"


def audit(  # noqa: PLR0913 - each is an option of the command
    data: str | Path,
    inject: Sequence[float] = (0.03, 0.1),
    *,
    noise: str = "confusion",
    draws: int = 1,
    rows: int = 3000,
    modes: Sequence[str] = ("drop", "weight"),
    progress: bool = False,
    **settings: Unpack[Settings],
) -> Audit:
    """Spoil labels on purpose; measure what that costs, how much is found, what cleaning wins back: `honed audit`.

    inject : shares of labels.    noise : confusion or uniform.    draws : for each rate.    rows : at most.

    Raises a HonedError with problem, cause and remedy.
    """
    from honed.pipeline.audit import audit_options
    from honed.pipeline.audit_files import audit_to_folder

    options = audit_options(inject, noise, draws, modes, rows)
    values: dict[str, Any] = {**settings, "data": str(data)}
    values |= {name: str(values[name]) for name in ("out", "decisions", "detector") if values.get(name) is not None}
    with watching(quiet=not progress, command="audit") as watcher:
        return Audit(audit_to_folder(make_config(values), options, [watcher]).path)


def load(path: str | Path) -> Run:
    """Open a finished run folder.

    Raises RunFolderError if it is none, or unfinished.
    """
    return Run(path)
