"""New inputs for `honed attention`: an image file, a folder of images, or a table such as `honed predict` takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from honed.artifact import load_artifact
from honed.data.dataset import UNLABELLED, Dataset, content_ids, content_of
from honed.data.image_files import examine_all
from honed.data.images import SUFFIXES, UnreadableImage
from honed.data.readers import SUFFIXES as TABLES
from honed.data.roles import Roles
from honed.errors import DataError, UsageError
from honed.events import Emitter
from honed.pipeline.predict import read_new_rows, trained_roles
from honed.pipeline.run_folder import RunFolder


def read_inputs(run: RunFolder, source: str, emitter: Emitter) -> Dataset:
    """The inputs that can be read, in the order of the source; what cannot is told as a warning.

    Raises UsageError for images where the run classifies texts, DataError if nothing can be read.
    """
    info = load_artifact(run.adapter).info
    path = Path(source).expanduser()
    names = _image_names(path)
    if names is None:
        loaded = _of_table(run, source, info.label_names)
    elif not info.reading:
        raise UsageError(
            f"{source} holds images, but this run classifies texts.",
            remedy="Name a table with the column of texts that the run was trained on.",
        )
    else:
        loaded = _of_images(names, path if path.is_dir() else path.parent, info.label_names)
    faults = {i: value.problem for i, value in enumerate(loaded.inputs) if isinstance(value, UnreadableImage)}
    faults |= {i: "it has no text" for i, value in enumerate(loaded.inputs) if value == ""}
    for i, reason in faults.items():
        named = repr(names[i]) if names else f"Row {i + 1}"
        emitter.emit("warning", f"{named} is left out: {reason}.", row=i)
    if len(faults) == len(loaded):
        first = f" The first: {next(iter(faults.values()))}." if faults else ""
        raise DataError(
            f"No input of {source} can be read.{first}",
            remedy="Name an image, a folder, a table.",
        )
    return loaded.take([i for i in range(len(loaded)) if i not in faults])


def _image_names(path: Path) -> list[str] | None:
    """The image files that a path means by itself, None if it means a table."""
    if path.is_dir() and not any((path / f"metadata{suffix}").is_file() for suffix in TABLES):
        names = sorted(own.name for own in path.iterdir() if own.suffix.lower() in SUFFIXES)
        if not names:
            raise DataError(
                f"The folder {path} holds no images.", remedy="Name a folder of PNG, JPEG, TIFF or DICOM files."
            )
        return names
    return [path.name] if path.suffix.lower() in SUFFIXES and not path.is_dir() else None


def _of_table(run: RunFolder, source: str, label_names: tuple[str, ...]) -> Dataset:
    trained = trained_roles(run.path)
    column = trained.image or trained.text
    try:
        return read_new_rows(run.path, source, Roles(), label_names).dataset
    except UsageError as error:
        if column is None:
            raise
        others = "or name an image or a folder of images" if trained.image else "or name another table"
        raise UsageError(
            f"{source} has no column {column!r}, which this run reads.",
            cause=error.cause,
            remedy=f"Call its column so, {others}.",
        ) from error


def _of_images(names: list[str], folder: Path, label_names: tuple[str, ...]) -> Dataset:
    found = examine_all(names, folder)
    contents = [f"{name}: {own.problem}" if isinstance(own, UnreadableImage) else content_of(own)
                for name, own in zip(names, found, strict=True)]  # fmt: skip
    ids = np.array(content_ids(contents), dtype=np.str_)
    n = len(names)
    return Dataset(ids, list(found), np.full(n, UNLABELLED), ids, label_names, np.arange(n))
