"""`honed plan`: what a run will need, from its configuration alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from honed.bases import load_tokenizer
from honed.config import Config
from honed.data.loading import LoadedData
from honed.errors import BaseModelError
from honed.methods.base import get_method
from honed.pipeline.budget import within_budget
from honed.pipeline.rows import load_classes
from honed.pipeline.settle import AUTO_PATCHES, auto_image_size, settled, with_epochs, with_layers, with_task
from honed.planning.machines import THIS, Machine, named_machine, this_machine
from honed.planning.plan import Plan, PlanRequest, make_plan
from honed.planning.rehearsal import Specialist
from honed.planning.shapes import BaseShape, check_reach, image_tokens, read_base_shape, shortened
from honed.planning.workload import Images, Lengths, Workload
from honed.tasks.base import check_head, get_task
from honed.tasks.image_classification import check_image_size, patch_size
from honed.tasks.image_reading import ImageReading
from honed.training.build import pick_device

TOKENS_PER_WORD = 1.4
"""English text in the word pieces of BERT and its kin; used where no tokenizer is at hand."""
CHARACTERS_PER_TOKEN = 4.5
_SAMPLED_TEXTS = 1000


@dataclass(frozen=True)
class AssumedData:
    """What is assumed of data that are not there: rows, tokens of each (None: `--max-tokens`), classes."""

    rows: int = 1000
    tokens: int | None = None
    n_classes: int = 5


def plan(config: Config, *, machines: Sequence[str] = (THIS,), assumed: AssumedData | None = None) -> Plan:
    """The plan of `honed fit` under `config`.

    machines : `this`, or names of `honed.planning.machines.GPUS`.
    assumed : what to plan for if the configuration names no data.

    Raises UsageError for an unknown machine, base, depth or length, and DataError for data that cannot be read.
    """
    loaded = load_classes(config, "plan") if config.data else None
    if loaded:
        config = settled(config, loaded)
    else:
        task = "text_classification" if config.task == "auto" else config.task
        config = with_epochs(config, with_task(config, task), (assumed or AssumedData()).rows)
    whole = read_base_shape(config.base, revision=config.revision)
    config = with_layers(config, whole.n_layers)
    config, chosen = within_budget(config)
    base = shortened(whole, config.layers)
    check_head(get_task(config.task), config.head)
    reading = None
    if config.task == "image_classification":
        reading = _image_reading(config, base, loaded)
    else:
        check_reach(base, config.max_tokens)
    device = pick_device(config.device)
    known = {name: None if name == THIS else named_machine(name) for name in dict.fromkeys(machines)}
    assumed = assumed or AssumedData()
    workload, notes = (
        _texts(config, base, loaded, assumed) if reading is None else _images(config, base, reading, loaded, assumed)
    )
    specialist = Specialist(
        method=config.method,
        options=get_method(config.method).options(**config.method_options),
        head=config.head,
        depth=config.depth,
        dtype=config.precision,
        n_classes=workload.n_classes,
        recompute=config.gradient_checkpointing,
        task=config.task,
        reading=reading.to_json() if reading else None,
    )
    if chosen:
        notes = (chosen, *notes)
    if config.trials or config.learning_rate == "auto":
        notes = (
            *notes,
            "The search for settings (trials, automatic rates) is not in the time; the training after it is.",
        )
    request = PlanRequest(base, specialist, workload, config.cache_frac, config.gate, config.keep_texts, notes)
    found: list[Machine] = [
        machine or this_machine(device, config.precision, base.hidden_size) for machine in known.values()
    ]
    return make_plan(request, found)


def _image_reading(config: Config, base: BaseShape, loaded: LoadedData | None) -> ImageReading:
    """How the base would read images. Colours are made up: what an image costs does not depend on them.

    Raises UsageError for a size that is no multiple of the base's patches, BaseModelError if it has none.
    """
    patch = patch_size(base.as_base(), base.config.to_dict())
    size = config.image_size
    if not isinstance(size, int):
        size = auto_image_size(loaded, patch) if loaded else AUTO_PATCHES[1] * patch
    check_image_size(size, patch)
    grey, n_averaged = (0.5, 0.5, 0.5), config.views if config.average_views else 1
    return ImageReading(size, config.image_fit, grey, grey, 3, n_views=config.views, n_averaged=n_averaged)


def _texts(
    config: Config, base: BaseShape, loaded: LoadedData | None, assumed: AssumedData
) -> tuple[Workload, tuple[str, ...]]:
    notes = []
    if loaded:
        texts, rows = loaded.dataset.inputs, len(loaded.dataset)
        n_classes = len(loaded.dataset.label_names)
        sample = [texts[i] for i in np.linspace(0, rows - 1, min(rows, _SAMPLED_TEXTS)).astype(int)]
        lengths, how = _lengths(sample, base, config.max_tokens)
        characters = float(np.mean([len(text) for text in sample]))
        notes.append(how)
        if rows > len(sample):
            notes.append(f"Token lengths were taken from {len(sample)} of {rows} rows.")
    else:
        tokens = min(assumed.tokens or config.max_tokens, config.max_tokens)
        rows, n_classes = assumed.rows, assumed.n_classes
        lengths = np.array([tokens], dtype=np.int64)
        characters = CHARACTERS_PER_TOKEN * tokens
        notes.append(f"No data were named: {rows} rows of {tokens} tokens in {n_classes} classes were assumed.")
    return _workload(config, rows, n_classes, lengths, characters), tuple(notes)


def _images(
    config: Config, base: BaseShape, reading: ImageReading, loaded: LoadedData | None, assumed: AssumedData
) -> tuple[Workload, tuple[str, ...]]:
    lengths = np.array([image_tokens(base, reading)], dtype=np.int64)
    notes = [f"Images are read as squares of {reading.size} pixels."]
    rows, n_classes, file_pixels = assumed.rows, assumed.n_classes, float(reading.size**2)
    if loaded:
        rows, n_classes = len(loaded.dataset), len(loaded.dataset.label_names)
        file_pixels = float(np.mean([file.width * file.height for file in loaded.dataset.inputs]))
    else:
        notes.append(f"No data were named: {rows} images of that size in {n_classes} classes were assumed.")
    images = Images(reading.size, file_pixels, reading.n_views, reading.n_averaged)
    return replace(_workload(config, rows, n_classes, lengths, 0.0), images=images), tuple(notes)


def _workload(config: Config, rows: int, n_classes: int, lengths: Lengths, characters: float) -> Workload:
    return Workload(
        rows=rows,
        lengths=lengths,
        characters=characters,
        n_classes=n_classes,
        folds=config.folds,
        holdout_frac=config.holdout_frac,
        stop_frac=config.stop_frac,
        epochs=config.epochs,
        batch_rows=config.batch_size,
    )


def _lengths(texts: Sequence[str], base: BaseShape, max_tokens: int) -> tuple[Lengths, str]:
    tokenizer = _tokenizer(base)
    if tokenizer is None:
        counts = [round(TOKENS_PER_WORD * len(text.split())) for text in texts]
        how = f"No tokenizer is here: {TOKENS_PER_WORD} tokens a word were assumed."
    else:
        encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens, verbose=False)["input_ids"]
        counts = [len(ids) for ids in encoded]
        how = "Token lengths are those of the base's own tokenizer."
    return np.clip(np.array(counts, dtype=np.int64), 1, max_tokens), how


def _tokenizer(base: BaseShape) -> Any:
    """The base's tokenizer, or None if there is none."""
    if base.folder is None:
        return None
    try:
        return load_tokenizer(base.as_base())
    except BaseModelError:
        return None
