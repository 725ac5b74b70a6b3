"""What `auto` means for these data: the task, the base, the head, the size of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from honed.base_files import read_config
from honed.bases import ResolvedBase, resolve
from honed.config import Config
from honed.data.conversations import Conversation
from honed.data.loading import LoadedData
from honed.data.preferences import Preference
from honed.errors import UsageError
from honed.evidence.metrics import METRICS
from honed.evidence.requirement import Requirement
from honed.tasks.base import get_task
from honed.tasks.image_classification import patch_size

AUTO_PATCHES = (4, 16)
"""Patches along a side of the smallest and of the largest image that `--image-size auto` asks for (docs/images.md)."""


def settled(config: Config, loaded: LoadedData) -> Config:
    """The configuration with the task that the data ask for, and that task's base and head where none was named.

    Raises UsageError if the task does not fit the columns.
    """
    task = "image_classification" if loaded.roles.image else "text_classification"
    if isinstance(loaded.dataset.inputs[0], Conversation):
        return with_task(config, "preference" if isinstance(loaded.dataset.inputs[0], Preference) else "instruction")
    if config.task not in ("auto", task):
        named = "images" if loaded.roles.image else "texts"
        raise UsageError(
            f"--task {config.task} does not fit {config.data}, whose rows are {named}.",
            remedy=f"Leave --task out, or name the column: --{'text' if loaded.roles.image else 'image'} NAME.",
        )
    return with_task(config, task)


def settle(config: Config, loaded: LoadedData, named: ResolvedBase | None = None) -> tuple[Config, ResolvedBase]:
    """The configuration without any `auto` that depends on the data, and its base.

    named : the base of the configuration, if it was found already: its weights are hashed at every search.

    Raises UsageError as `settled`, BaseModelError as `resolve`.
    """
    config = settled(config, loaded)
    base = named or resolve(config.base, revision=config.revision)
    config = with_layers(config, base.n_layers)
    if config.task == "image_classification" and config.image_size == "auto":
        config = config.model_copy(update={"image_size": auto_image_size(loaded, patch_of(base))})
    return config, base


def check_grades(config: Config) -> None:
    """Raises UsageError if a figure of grades is asked for while the classes are not said to be any."""
    asked = [config.metric, *(Requirement.parse(text).metric for text in config.require)]
    ordinal = [name for name in asked if name in METRICS and METRICS[name].is_ordinal]
    if ordinal and not config.ordinal:
        raise UsageError(
            f"{ordinal[0]} is a figure of grades, and the classes are not said to be any.",
            remedy="Add --ordinal if their sorted order is their order.",
        )


def grades_note(label_names: Sequence[str]) -> str:
    """The order in which the grades were taken."""
    order = " < ".join(label_names)
    return f"The grades, from low to high: {order}. If that is not their order, begin their names with numbers."


def with_task(config: Config, task: str) -> Config:
    """The configuration for that task, with its own base and head where none was named."""
    own = get_task(task)
    update: dict[str, Any] = {"task": task}
    if config.base == "auto":
        update["base"] = own.default_base
    if config.head == "auto":
        update["head"] = own.default_head
    update |= {name: value for name, value in own.defaults.items() if name not in config.model_fields_set}
    if config.trials or config.learning_rate == "auto":
        update.pop("stop_frac", None)  # settings are chosen by the stop parts
    return config.model_copy(update=update)


def with_layers(config: Config, n_layers: int) -> Config:
    """The configuration with a number for `--layers auto`, where it differs from all. n_layers : of the base."""
    if config.layers != "auto":
        return config
    frac = get_task(config.task).layers_frac
    return config.model_copy(update={"layers": "all" if frac == 1 else max(1, round(frac * n_layers))})


def patch_of(base: ResolvedBase) -> int:
    """Pixels of a patch's side. Raises BaseModelError if the base reads no images."""
    return patch_size(base, read_config(base.path))


def auto_image_size(loaded: LoadedData, patch: int) -> int:
    """A square for the images: their own size, as far as it is within the bounds of `AUTO_PATCHES`."""
    sides = [min(file.width, file.height) for file in loaded.dataset.inputs]
    smallest, largest = AUTO_PATCHES
    return patch * int(np.clip(round(float(np.median(sides)) / patch), smallest, largest))
