"""What every export carries beside its weights: how inputs are read, the label names, the temperature."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.artifact import write_json
from honed.base_shape import quiet
from honed.export.other_program import PREPROCESSOR, SPECIALIST
from honed.tasks.image_reading import ImageReading

if TYPE_CHECKING:
    from honed.artifact import ArtifactInfo
    from honed.bases import ResolvedBase
    from honed.serving.engine import Specialist


def write_reading(folder: Path, specialist: Specialist) -> None:
    """How the base reads its inputs: the tokenizer, or the image processor."""
    if specialist.stack.task.tokenizer is None:
        _write_processor(folder, ImageReading.from_json(specialist.artifact.info.reading))
    else:
        _write_tokenizer(folder, specialist)


def _write_processor(folder: Path, reading: ImageReading) -> None:
    """A processor of transformers: scale and normalise. What it has no word for stands in the README."""
    square = {"height": reading.size, "width": reading.size}
    own = {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": square,
        "resample": reading.resample,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(reading.mean),
        "image_std": list(reading.std),
    }
    write_json(folder / PREPROCESSOR, own)


def _write_tokenizer(folder: Path, specialist: Specialist) -> None:
    """The tokenizer, set to what was measured, so that `tokenizer(texts, truncation=True, padding=True)` is all.

    Cut after `max_tokens`, padded on the right, and no inputs but ids and mask.
    """
    tokenizer = copy.deepcopy(specialist.stack.task.tokenizer)
    settings = {
        "model_max_length": specialist.artifact.info.max_tokens,
        "padding_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    tokenizer.init_kwargs |= settings  # only what stands there is saved
    tokenizer.init_kwargs.pop("local_files_only", None)  # how honed found it, not what it is
    tokenizer.save_pretrained(folder)


def plain_config(specialist: Specialist, base: ResolvedBase) -> Any:
    """The model's transformers configuration with the label names, and without what a stack changed in it."""
    import transformers

    model, names = specialist.stack.model, specialist.label_names
    config = copy.deepcopy(model.config)
    with quiet():
        own = transformers.AutoConfig.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
    if hasattr(own, "use_cache"):
        config.use_cache = own.use_cache
    else:
        del config.use_cache
    config.id2label = dict(enumerate(names))
    config.label2id = {name: j for j, name in enumerate(names)}
    config.architectures = [type(model).__name__]
    return config


def write_specialist(folder: Path, info: ArtifactInfo) -> None:
    """Temperature, point, length, and where the specialist came from. The label names stand in config.json alone."""
    facts: dict[str, Any] = ({"reading": info.reading} if info.reading else {}) | {
        "task": info.task,
        "max_tokens": info.max_tokens,
        "temperature": info.temperature,
        "head": info.head,
        "method": info.method,
        "base": info.base_hub_id or info.base,
        "base_revision": info.base_revision,
        "base_sha256": info.base_sha256,
        "dataset_fingerprint": info.dataset_fingerprint,
    }
    if info.threshold is not None:
        facts |= {"positive": info.positive, "threshold": info.threshold}
    write_json(folder / SPECIALIST, facts)
