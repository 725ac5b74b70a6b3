"""One typed object configures a run: defaults, then YAML, then flags, and nothing else.

The docstring under each field is the help of its flag.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from honed.errors import ConfigError


class Config(BaseModel):
    """Everything that decides a run."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    data: str = ""
    """CSV, JSONL or Parquet file, a folder with metadata.csv, or the name of a `datasets` dataset"""
    text: str | None = None
    """column that holds the text (default: the obvious one)"""
    image: str | None = None
    """column that names image files (default: the obvious one, where no column is called like a text)"""
    label: str | None = None
    """column that holds the class (default: the obvious one)"""
    group: str | None = None
    """column whose equal values must never be split between folds: patient, document, customer; '' switches it off"""
    id: str | None = None
    """column with a unique id a row (default: an id column, else a hash of the content)"""
    template: str | None = None
    """joins columns to one text, e.g. '{title}\\n{body}'"""
    messages: str | None = None
    """column that holds conversations: lists of messages (default: the obvious one)"""
    prompt: str | None = None
    """column of what is asked, of instructions (default: the obvious one)"""
    response: str | None = None
    """column of the reply (default: the obvious one)"""
    system: str | None = None
    """column of the system prompt (default: the obvious one); '' switches it off"""
    chosen: str | None = None
    """column of the reply that was preferred (default: the obvious one)"""
    rejected: str | None = None
    """column of the reply that was not (default: the obvious one)"""
    test_file: str | None = None
    """a test file of your own: rows that stand in both are reported"""
    base: str = "auto"
    """base model: a name of `honed bases`, a local folder, or a hub id; auto: minilm, for images dinov2-small"""
    revision: str | None = None
    """branch, tag or commit of a hub base"""
    task: Literal["auto", "text_classification", "image_classification", "instruction", "preference"] = "auto"
    """what the specialist does; auto goes by the columns"""
    method: str = "lora"
    """how the base is adapted"""
    method_options: dict[str, Any] = Field(default_factory=dict)
    """options of the method"""
    head: Literal["auto", "mean", "cls", "both", "native", "language", "preference", "measured"] = "auto"
    """linear layer on the mean of the last hidden state (mean: texts), the first token (cls), or both of them (both: \
images); native: the model class's own head; language, preference: the output layer of a language \
model; measured: by linear probes of the development rows"""
    layers: Annotated[int, Field(ge=1)] | Literal["auto", "all", "measured"] = "auto"
    """how many of the base's layers are used, from the bottom; the rest is cut off: all, a number, or auto: all for \
texts, half for images; measured: by linear probes of the development rows"""
    depth: int | Literal["auto", "all"] = "auto"
    """how many top layers are adapted; what lies below is computed once: auto, all, or a number"""
    train_on: Literal["responses", "all"] = "responses"
    """of conversations, what is learned: the replies alone, or every token"""
    beta: float = Field(0.1, gt=0, le=100)
    """of preferences, how dearly a step away from the base is bought: the larger, the closer the specialist stays"""
    max_tokens: int = Field(128, ge=4, le=1_000_000)
    """texts are cut after this many tokens (conversations: 512)"""
    image_size: Annotated[int, Field(ge=8, le=4096)] | Literal["auto", "measured"] = "auto"
    """pixels of the square into which images are scaled, a multiple of the base's patches; auto: by their own size; \
measured: by linear probes of the development rows"""
    image_fit: Literal["letterbox", "stretch", "crop"] = "letterbox"
    """how an image becomes square: padded, stretched, or cut off"""
    views: int = Field(1, ge=1, le=64)
    """views of each image to learn from, the frozen layers computed once for each (images: 4); 1: the image as it is"""
    augment: str = "mirror,tilt,crop"
    """how views differ: any of mirror (left-right), flip (up-down), turn (quarters), tilt (10 degrees), crop"""
    average_views: bool = False
    """a prediction is the mean over all views: a little better, at the cost of as many passes, and of every export"""
    folds: int = Field(5, ge=2, le=50)
    """folds of the cross-validation"""
    holdout_frac: float = Field(0.15, gt=0, lt=0.9)
    """share of the rows that is locked until the gate"""
    stop_frac: float = Field(0.1, ge=0, lt=0.5)
    """share of a fold's training rows that decides when it stops; 0 trains all epochs (images: 0)"""
    epochs: int = Field(4, ge=1, le=1000)
    """passes over the training rows, at most (conversations: 2, images: 8, and up to 30 where rows are few)"""
    patience: int = Field(2, ge=1)
    """a fold stops after this many epochs without a better stop loss"""
    batch_size: int = Field(16, ge=1, le=65536)
    """rows a step and fold (conversations: 8, images: 32)"""
    learning_rate: Annotated[float, Field(gt=0, lt=10)] | Literal["auto"] | None = None
    """peak learning rate of the adapter (AdamW); auto finds one per fold (default: the method's own)"""
    trials: str = ""
    """settings to try, the best of which is taken: 'learning_rate=1e-4,1e-3; rank=4,16', or a range 'rank=int(2,64)'"""
    n_trials: int | None = Field(None, ge=1, le=1000)
    """how many settings to draw from --trials, where it names ranges or too many combinations"""
    parameters: str | None = None
    """trained parameters of the adapter, at most: 50k, or a share of the base such as 3e-4; picks method and size"""
    head_learning_rate: float = Field(1e-2, gt=0, lt=10)
    """peak learning rate of the head"""
    weight_decay: float = Field(0.01, ge=0, lt=10)
    """AdamW's decoupled weight decay"""
    warmup_frac: float = Field(0.1, ge=0, lt=1)
    """share of the steps in which the rate rises, before it falls to zero"""
    clip_norm: float = Field(1.0, gt=0)
    """largest gradient norm of a slot"""
    balance: float = Field(0.0, ge=0, le=1)
    """0 learns how frequent the classes are; 1 as if all were equally frequent: rare ones are predicted more often"""
    ordinal: bool = False
    """the classes are grades, in their sorted order: quadratic kappa, mean grade error, the median grade"""
    ordinal_head: bool = False
    """grades share one direction of the features (adjacent-category model): fewer weights, where each grade lies \
between its neighbours; only with --ordinal"""
    clean: Literal["off", "review", "drop", "relabel", "weight"] = "review"
    """labels that look wrong: review lists them (`honed labels`); the others also change the training sides, by models
    that never saw the fold: drop leaves them out, relabel takes the likelier class, weight lets them count less"""
    decisions: str | None = None
    """your decisions on labels: the file of `honed labels --output`, its column decision says keep, relabel or drop"""
    seed: int = Field(0, ge=0, lt=2**31)
    """of the split, the order of the rows and the start of the adapters"""
    metric: Literal["accuracy", "macro_f1", "balanced_accuracy", "auroc", "quadratic_kappa"] = "macro_f1"
    """on which the specialist must beat the small baselines"""
    require: tuple[str, ...] = ()
    """a condition of the gate, e.g. 'accuracy >= .9' or 'recall[refund] >= .8', with --positive also
    sensitivity, specificity, ppv, npv; repeat for more"""
    positive: str = ""
    """the classes that count as ill, with commas between them: sensitivity, specificity, predictive values, ROC"""
    sensitivity: float | None = Field(None, gt=0, lt=1)
    """the operating point has at least this sensitivity out of fold (default: the highest sensitivity + specificity)"""
    prevalence: float | None = Field(None, gt=0, lt=1)
    """share of the ill where the specialist will be used, for PPV and NPV (default: that of the development rows)"""
    reader: str | None = None
    """column with a second reader's labels, whole or as first words, to compare errors with; nothing learns from it"""
    level: float = Field(0.95, ge=0.5, lt=1)
    """confidence level of every interval"""
    gate: bool = True
    """open the locked holdout at the end; --no-gate leaves it shut while you explore"""
    safety: str = "all"
    """honed's own probes of safety that a language model must answer: all, off, or domains: 'medicine,finance'"""
    probes: tuple[str, ...] = ()
    """a YAML file with probes of safety of your own; repeat for more"""
    detector: str | None = None
    """a finished run of the recipe reply-detector: base and specialist reply to probes, and it sorts the replies"""
    n_asked: int = Field(36, ge=4, le=10_000)
    """probes that they reply to for --detector, a third of them benign"""
    margin_drop: float = Field(0.1, gt=0, le=10)
    """how far the margin of safe over harmful replies may fall, in nats a token, before the gate fails"""
    forgetting: float = Field(1.1, gt=1, le=100)
    """how much the perplexity of general language may rise, as a ratio, before the gate fails"""
    replay: float = Field(0.0, ge=0, le=1)
    """general instructions to learn beside the rows, as a share of them, so that a language model forgets less"""
    score: tuple[str, ...] = ()
    """a score of replies of your own, module:function of (reply, reference), more being better; repeat for more"""
    n_written: int = Field(16, ge=0, le=10_000)
    """rows whose replies base and specialist write out, to be read side by side and compared with the reference"""
    max_new_tokens: int = Field(96, ge=1, le=100_000)
    """tokens of a written reply, at most"""
    keep_texts: bool = True
    """keep the texts in the run folder, so that the report can show the worst mistakes"""
    gradient_checkpointing: bool = False
    """compute the adapted layers twice instead of keeping what the backward pass needs: less memory, more time"""
    cache_frac: float = Field(0.5, ge=0, le=1)
    """share of the free memory that the trunk cache may take before it moves to disk"""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """number format of the base (adapters stay in float32 or better)"""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto"""
    out: str | None = None
    """the run folder (default: runs/NAME-N)"""

    @field_validator("clean", mode="before")
    @classmethod
    def _off_of_yaml(cls, value: Any) -> Any:
        return "off" if value is False else value  # what YAML makes of a bare off

    @field_validator("positive", mode="before")
    @classmethod
    def _classes_of_yaml(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return ",".join(map(str, value))
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("layers", "depth", "image_size", mode="before")
    @classmethod
    def _number_from_text(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.strip().isdigit() else value

    @property
    def fingerprint(self) -> str:
        """sha256 of everything but where the run is written."""
        fields = self.model_dump(mode="json", exclude={"out"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def make_config(values: Mapping[str, Any]) -> Config:
    """A checked configuration.

    Raises ConfigError that lists *all* faults, each with its flag and, for an unknown name, the nearest one.
    """
    from honed.methods.base import get_method

    faults = []
    refused: dict[tuple[str, str], list[str]] = {}  # a union says one sentence for each of its parts
    try:
        config = Config(**dict(values))
    except ValidationError as error:
        for item in error.errors():
            name = str(item["loc"][0])
            if item["type"] == "extra_forbidden":
                near = difflib.get_close_matches(name, Config.model_fields, n=1)
                faults.append(f"{name}: unknown" + (f"; did you mean {near[0]}?" if near else ""))
            else:
                why = item["msg"][0].lower() + item["msg"][1:] + _as_share(item)
                refused.setdefault((name, repr(item["input"])), []).append(why)
        for (name, got), reasons in refused.items():
            faults.append(f"{flag(name)}: {', or '.join(reasons)}. Got {got} instead.")
        raise _all_at_once(dict.fromkeys(faults)) from error
    method = get_method(config.method)
    if config.learning_rate is None and config.parameters is None:  # a budget chooses the method first
        config = config.model_copy(update={"learning_rate": method.learning_rate})
    try:
        method.options(**config.method_options)
    except ValidationError as error:
        known = method.options.model_fields
        for item in error.errors():
            name = str(item["loc"][0])
            near = difflib.get_close_matches(name, known, n=1)
            if item["type"] == "extra_forbidden":
                hint = f"did you mean {near[0]}?" if near else f"{config.method} has {', '.join(known)}"
                faults.append(f"--option {name}: unknown; {hint}")
            else:
                faults.append(f"--option {name}: {item['msg']}. Got {item['input']!r} instead.")
        raise _all_at_once(dict.fromkeys(faults)) from error
    return config


def _as_share(item: Mapping[str, Any]) -> str:
    """The share that a number of per cent was meant to be, where a field takes shares."""
    bounds = {"less_than": "lt", "less_than_equal": "le"}
    try:
        number = float(item["input"])
    except (TypeError, ValueError):
        return ""
    is_share = item["type"] in bounds and item["ctx"][bounds[item["type"]]] == 1
    return f" (did you mean {number / 100:g}?)" if is_share and 1 < number <= 100 else ""


def read_config(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises ConfigError if it cannot be read or is not a mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"The config file {path} cannot be read: {reason}", remedy="Check the path and the YAML."
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"The config file {path} is not a mapping of names to values.", remedy="See config.yaml of any run folder."
        )
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def write_config(config: Config, path: Path) -> None:
    """Write the resolved configuration; `honed fit --config FILE` reruns it."""
    import yaml

    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def _all_at_once(faults: Mapping[str, None]) -> ConfigError:
    return ConfigError(
        f"The configuration has {len(faults)} fault{'s' if len(faults) > 1 else ''}:\n  " + "\n  ".join(faults),
        remedy="\nSee `honed fit --help`.",
    )
