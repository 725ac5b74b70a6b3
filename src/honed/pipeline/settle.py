"""What `auto` means for these data: the task, the base, the head, the size of the images, the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from honed.base_files import read_config
from honed.bases import ResolvedBase, resolve
from honed.config import Config, flag
from honed.data.conversations import Conversation
from honed.data.loading import LoadedData
from honed.data.preferences import Preference
from honed.errors import UsageError
from honed.evidence.metrics import METRICS
from honed.pipeline.requirements import requirements_of
from honed.tasks.base import get_task
from honed.tasks.image_classification import patch_size
from honed.training.schedule import shared_batch_rows

AUTO_PATCHES = (4, 16)
"""Patches along a side of the smallest and of the largest image that `--image-size auto` asks for (docs/images.md)."""
MEASURED = ("layers", "image_size", "head")
"""Fields that `honed fit` can choose by measurement."""
MOST_EPOCHS = 30
"""To which few rows can raise the epochs."""


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
    return with_epochs(config, with_task(config, task), len(loaded.dataset))


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
    """Raises UsageError if a figure or a head of grades is asked for while the classes are not said to be any."""
    if config.ordinal_head and not config.ordinal:
        raise UsageError(
            "--ordinal-head is for grades, and the classes are not said to be any.",
            remedy="Add --ordinal if their sorted order is their order.",
        )
    asked = [config.metric, *(requirement.metric for requirement in requirements_of(config))]
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
    if wanted := [name for name in MEASURED if getattr(config, name) == "measured"]:
        raise UsageError(
            f"{flag(wanted[0])} measured is chosen by `honed fit` alone, from the rows of its folds.",
            remedy="Here name a value, or auto.",
        )
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


def with_epochs(given: Config, config: Config, n_rows: int) -> Config:
    """`config`, the settled form of `given`, with so many epochs that a fold makes the least steps of its task.

    Epochs that `given` names stay, and no task gets fewer than its default. n_rows : of the whole file.
    """
    if "epochs" in given.model_fields_set:
        return config
    wanted = math.ceil(get_task(config.task).least_steps / steps_an_epoch(config, n_rows))
    return config.model_copy(update={"epochs": max(config.epochs, min(wanted, MOST_EPOCHS))})


def steps_an_epoch(config: Config, n_rows: int) -> int:
    """Optimizer steps of a fold. n_rows : of the whole file, those of the locked holdout too."""
    n_development = round(n_rows * (1 - config.holdout_frac))
    return max(1, math.ceil(n_development / shared_batch_rows(config.batch_size, config.folds)))


def epochs_note(given: Config, config: Config, n_rows: int) -> str:
    """What `with_epochs` did, in words; "" if it did nothing."""
    usual = with_task(given, config.task).epochs
    if "epochs" in given.model_fields_set or config.epochs == usual:
        return ""
    steps = steps_an_epoch(config, n_rows)
    return (
        f"{n_rows} rows make only {steps} step{'s' if steps > 1 else ''} an epoch, so a fold trains {config.epochs} "
        f"epochs in the place of {usual}: {steps * config.epochs} steps (--epochs N decides otherwise)."
    )


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
