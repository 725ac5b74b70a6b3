"""`honed compare`: several methods on one fold plan, one table, one recommendation; then the holdout, once.

A comparison is a folder of ordinary runs that share data, holdout and folds:

comparison.yaml   what is compared: the shared settings, and each candidate's own
NAME/             the run of each candidate, its holdout shut; that of the recommended one is opened at the end
comparison.json   the table, the rule, the recommendation          comparison.html   the same, to look at
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.artifact import write_json
from honed.config import Config, make_config, read_config
from honed.errors import DataError, RunFolderError, UsageError
from honed.events import Emitter, Listener
from honed.evidence.baselines import BASELINES
from honed.evidence.comparison_report import ComparisonFacts, write_comparison
from honed.evidence.selection import MAX_LOSS, Comparison, Cost, Entry
from honed.evidence.selection import compare as compare_tables
from honed.methods.base import discover, get_method
from honed.oof import Predictions
from honed.pipeline import reopen
from honed.pipeline.gate import reopen_data
from honed.pipeline.latency import added_latency_s
from honed.pipeline.machine import disk_faults
from honed.pipeline.prepare import EMBEDDED
from honed.pipeline.rows import refuse_conversations
from honed.pipeline.run_folder import COMPARISON, RunFolder, claim
from honed.pipeline.scoring import Groups, groups_of
from honed.pipeline.worker import WorkerError, fit_elsewhere
from honed.serving.engine import load_specialist

DEFAULT_METHODS = ("full", "lora", "bottleneck", "prefix")
OWN_FIELDS = frozenset((
    "method", "method_options", "head", "layers", "depth", "max_tokens", "image_size", "image_fit", "views", "augment",
    "average_views", "epochs", "patience", "batch_size", "learning_rate", "head_learning_rate", "weight_decay",
    "warmup_frac", "clip_norm", "balance", "trials", "n_trials", "parameters", "gradient_checkpointing",
    "precision", "clean", "safety",
))  # fmt: skip
"""What may differ between candidates. All else decides which rows there are and how they are split and scored.
(Nobody asks a classifier about safety; a recipe names the probes of its domain for a language model.)"""


@dataclass(frozen=True)
class Compared:
    """A finished comparison. verdict : of the recommended run's gate, or None if the holdout was left shut."""

    path: Path
    comparison: Comparison
    run: RunFolder
    verdict: dict[str, Any] | None

    @property
    def page(self) -> Path:
        """The report."""
        return self.path / "comparison.html"


def candidates(methods: Sequence[str], recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings of each candidate by name: a method with its own defaults, or a recipe.

    Raises UsageError for an unknown method, or if a recipe sets what all candidates must share.
    """
    named: dict[str, dict[str, Any]] = {}
    for name in methods:
        named[get_method(name).name] = {"method": name}
    for name, settings in recipes.items():
        shared = sorted(set(settings) - OWN_FIELDS)
        if shared:
            raise UsageError(
                f"The recipe {name!r} sets {', '.join(shared)}, which all candidates of a comparison must share.",
                remedy="Give it as a flag of `honed compare`, or take it out of the recipe.",
            )
        named[f"recipe-{name}"] = dict(settings)
    if not named:
        raise UsageError("Nothing was named to compare.", remedy=f"Name methods of: {', '.join(discover())}.")
    return named


def compare(
    shared: Mapping[str, Any],
    named: Mapping[str, Mapping[str, Any]],
    listeners: Sequence[Listener] = (),
    *,
    max_loss: float = MAX_LOSS,
) -> Compared:
    """Run every candidate on one fold plan, compare them, and open the holdout for the recommended one.

    shared : settings of `Config` for all candidates.    named : each candidate's own (see `candidates`).
    max_loss : see `evidence.selection_words.RULE`; in the metric's own unit.

    Raises a HonedError; what was done until then stays in the folder, and `resume` continues from it.
    """
    import yaml

    configs = {name: make_config({**shared, **own}) for name, own in named.items()}
    first = next(iter(configs.values()))
    if not first.data:
        raise UsageError("No data were named.", remedy="`honed compare FILE`.")
    refuse_conversations(first, "compare")
    stem = EMBEDDED.get(first.data) or Path(first.data).stem
    path = claim(first.out, f"compare-{stem}").path
    plan = {"shared": {**shared, "out": str(path)}, "max_loss": max_loss, "candidates": {**named}}
    with disk_faults(path):
        (path / COMPARISON).write_text(yaml.safe_dump(plan, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return _run(path, configs, max_loss, tuple(listeners))


def resume(path: str | Path, listeners: Sequence[Listener] = ()) -> Compared:
    """Continue an interrupted comparison: finished runs are kept, the interrupted one goes on where it was.

    Raises RunFolderError if the folder is no comparison.
    """
    import yaml

    folder = Path(path)
    try:
        plan = yaml.safe_load((folder / COMPARISON).read_text(encoding="utf-8"))
        shared, named, max_loss = dict(plan["shared"]), dict(plan["candidates"]), float(plan["max_loss"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is not the folder of a comparison: its {COMPARISON} cannot be read.",
            cause=f"{' '.join(str(error).split())}.",
            remedy="Name the folder that `honed compare` printed.",
        ) from error
    configs = {name: make_config({**shared, **own}) for name, own in named.items()}
    return _run(folder, configs, max_loss, tuple(listeners))


def _run(path: Path, configs: Mapping[str, Config], max_loss: float, listeners: tuple[Listener, ...]) -> Compared:
    emitter = Emitter(listeners)
    emitter.emit("run.start", f"Comparison {path}", path=str(path))
    not_run: dict[str, str] = {}
    errors: list[WorkerError] = []
    for name, config in configs.items():
        try:
            _fit(RunFolder(path / name), config, emitter, name)
        except WorkerError as error:
            if error.exit_code == DataError.exit_code:
                raise  # the others read the same rows
            errors.append(error)
            not_run[name] = error.problem
            emitter.emit("warning", f"{name} could not be run: {error.problem}")
    runs = {name: RunFolder(path / name) for name in configs if name not in not_run}
    if not runs:
        raise errors[0]
    shared = next(iter(configs.values()))
    with emitter.stage("compare", "Comparing on the out-of-fold rows"), disk_faults(path):
        entries, group = _entries(runs, shared.device)
        comparison = compare_tables(
            entries, group, metric=shared.metric, level=shared.level, max_loss=max_loss, not_run=not_run
        )
    run = runs[comparison.recommended]
    verdict = None
    if shared.gate:
        reopen.gate(run.path, (), listeners)
        verdict = run.read_json(run.verdict)
    with disk_faults(path):
        _write(path, comparison, runs, verdict)
    emitter.emit("run.end", comparison.recommendation)
    return Compared(path, comparison, run, verdict)


def _fit(run: RunFolder, config: Config, emitter: Emitter, name: str) -> None:
    if run.is_complete:
        return
    if run.config.exists():
        fit_elsewhere({"resume": str(run.path)}, emitter, name)
    else:
        own = config.model_copy(update={"out": str(run.path), "gate": False})
        fit_elsewhere({"config": own.model_dump(mode="json", exclude_unset=True)}, emitter, name)


def _entries(runs: Mapping[str, RunFolder], device: str) -> tuple[list[Entry], Groups]:
    """Table and cost of every method and baseline, and the group of each row."""
    any_run = next(iter(runs.values()))
    dataset, plan = reopen_data(any_run, make_config(read_config(any_run.config)))
    texts = [dataset.inputs[i] for i in plan.development]
    entries = [_entry(name, run, texts, device) for name, run in runs.items()] + _baselines(any_run)
    return entries, groups_of(entries[0].predictions, plan)


def _write(path: Path, comparison: Comparison, runs: Mapping[str, RunFolder], verdict: dict[str, Any] | None) -> None:
    run = runs[comparison.recommended]
    metrics, config, dataset = run.read_json(run.metrics), read_config(run.config), run.read_json(run.dataset)
    judged = {"verdict": verdict, "scores": metrics.get("holdout")} if verdict else None
    write_json(path / "comparison.json", {**comparison.to_json(), "holdout": judged})
    told = f"The holdout is still shut: open it for {run.path.name} with `honed gate {run.path}`."
    if verdict:
        told = f"{run.path.name}: {verdict['verdict']}. {' '.join(verdict['reasons'])}"
    about = {
        "Data": dataset["source"], "Base model": config["base"],
        "Rows compared": f"{comparison.n} in {comparison.n_folds} folds", "Seed": config["seed"],
        "Machine": metrics["machine"], "Folder": path.resolve().name,
    }  # fmt: skip
    facts = ComparisonFacts(Path(dataset["source"]).name, told, tuple((name, str(v)) for name, v in about.items()))
    write_comparison(path / "comparison.html", comparison, facts)


def _entry(name: str, run: RunFolder, texts: Sequence[str], device: str) -> Entry:
    metrics = run.read_json(run.metrics)
    specialist = load_specialist(run.adapter, device=device)
    timings = metrics["timings_s"]
    cost = Cost(
        trained_parameters=metrics["parameters"]["trained"],
        seconds=timings["trunk"] + timings["train"],
        peak_memory_bytes=metrics["memory"]["peak_rss_bytes"],
        artifact_bytes=sum(file.stat().st_size for file in run.adapter.iterdir()),
        added_latency_s=added_latency_s(specialist, texts),
    )
    return Entry(name, Predictions.read(run.oof), cost)


def _baselines(run: RunFolder) -> list[Entry]:
    unknown = Cost(None, None, None, None, None, is_baseline=True)
    return [
        Entry(name, Predictions.read(run.baselines / f"{name}.parquet"), unknown)
        for name in BASELINES
        if (run.baselines / f"{name}.parquet").exists()
    ]
