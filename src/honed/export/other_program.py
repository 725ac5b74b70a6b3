"""An export in the hands of the program that it was made for; nothing of honed's own models is used here.

Tokenizer or processor, label names, pooling and head all come from the exported folder, as its README shows, because
what is proven is the folder and not honed.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.base_shape import quiet

BATCH_ROWS = 16
SPECIALIST = "specialist.json"
"""What a prediction depends on and config.json has no place for."""
PREPROCESSOR = "preprocessor_config.json"
Array = npt.NDArray[np.float64]
Batch = dict[str, npt.NDArray[Any]]


class Unreadable(Exception):  # noqa: N818 - a state of the export, not an error of this program
    """The other program cannot load or run the export; the message says why."""


class TextReader:
    """The tokenizer of an export."""

    def __init__(self, folder: Path) -> None:
        import transformers

        with quiet(), reading("tokenizer"):
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut where the tokenizer says."""
        with quiet():
            ids: list[list[int]] = self._tokenizer(list(texts), truncation=True)["input_ids"]
        return ids

    def batch(self, texts: Sequence[str]) -> Batch:
        """input_ids and attention_mask as the tokenizer makes and pads them."""
        with quiet():
            encoded = self._tokenizer(list(texts), truncation=True, padding=True, return_tensors="np")
        return {name: np.asarray(encoded[name], dtype=np.int64) for name in ("input_ids", "attention_mask")}


class ImageReader:
    """The image processor of an export, and the lines of its README that open an image and make it square.

    files : anything with a `name` and a `path`. Pillow alone opens them: what it shows otherwise than honed (16 bits,
        transparency, DICOM) is a difference between the programs, and is found as one.
    """

    def __init__(self, folder: Path) -> None:
        import transformers

        with quiet(), reading("image processor"):
            self._processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        with reading(SPECIALIST):
            self._own = json.loads((folder / SPECIALIST).read_text(encoding="utf-8"))["reading"]

    def _processed(self, files: Sequence[Any], **options: Any) -> npt.NDArray[Any]:
        images = []
        for file in files:
            with reading(f"image {file.name!r}"):
                # what is to be stretched, the processor stretches
                images.append(_upright(file.path) if self._own["fit"] == "stretch" else _fitted(file.path, self._own))
        with quiet():
            return np.asarray(self._processor(images=images, return_tensors="np", **options)["pixel_values"])

    def tokens(self, files: Sequence[Any]) -> list[list[int]]:
        """The sha256 of the pixels of each image, (size, size, 3), before they are normalised."""
        pixels = [
            self._processed([file], do_rescale=False, do_normalize=False)[0].transpose(1, 2, 0).astype(np.uint8)
            for file in files
        ]
        return [list(hashlib.sha256(one.tobytes()).digest()) for one in pixels]

    def batch(self, files: Sequence[Any]) -> Batch:
        """pixel_values, (rows, 3, size, size)."""
        return {"pixel_values": self._processed(files)}


class PillowReader:
    """An image export read by Pillow and numpy alone, as the README of an ONNX graph does: see `ImageReader`."""

    def __init__(self, folder: Path) -> None:
        with reading(SPECIALIST):
            self._own = json.loads((folder / SPECIALIST).read_text(encoding="utf-8"))["reading"]

    def _pixels(self, file: Any) -> npt.NDArray[np.uint8]:
        with reading(f"image {file.name!r}"):
            return np.asarray(_fitted(file.path, self._own))

    def tokens(self, files: Sequence[Any]) -> list[list[int]]:
        """The sha256 of the pixels of each image, (size, size, 3), before they are normalised."""
        return [list(hashlib.sha256(self._pixels(file).tobytes()).digest()) for file in files]

    def batch(self, files: Sequence[Any]) -> Batch:
        """pixel_values, (rows, 3, size, size)."""
        pixels = np.stack([self._pixels(file) for file in files]).astype(np.float32) / 255
        mean, std = (np.array(self._own[name], np.float32) for name in ("mean", "std"))
        return {"pixel_values": np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2))}


def _upright(path: Path) -> Any:
    from PIL import Image, ImageOps

    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def _fitted(path: Path, own: dict[str, Any]) -> Any:
    """The image as a square, opened by Pillow."""
    from PIL import Image, ImageOps

    size, how = (own["size"], own["size"]), Image.Resampling(own["resample"])
    image = _upright(path)
    if own["fit"] == "letterbox":
        return ImageOps.pad(image, size, how, color=tuple(round(255 * v) for v in own["mean"]))
    return ImageOps.fit(image, size, how) if own["fit"] == "crop" else image.resize(size, how)


class OtherProgram(ABC):
    """The export in `folder`, loaded.

    label_names : of the logits, as config.json has them.
    lost : tensors that the program needs and the folder does not hold; it filled them with something else.
    """

    lost: tuple[str, ...] = ()
    _image_reader: type[ImageReader | PillowReader] = ImageReader

    def __init__(self, folder: Path) -> None:
        is_image = (folder / PREPROCESSOR).exists()
        self._reader = self._image_reader(folder) if is_image else TextReader(folder)
        with reading("config.json"):
            names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
            self.label_names = tuple(str(names[str(j)]) for j in range(len(names)))

    @abstractmethod
    def forward(self, batch: Batch, *, hidden: bool = False) -> tuple[Array, list[Array]]:
        """Logits (rows, c) of a batch: input_ids and attention_mask (rows, tokens), or pixel_values.

        hidden : also the hidden states (rows, tokens, d) after the embeddings and after each layer; else an empty list.
        """

    def tokens(self, examples: Sequence[Any]) -> list[list[int]]:
        """What the model reads of each example: see `Reading.tokens`."""
        return self._reader.tokens(examples)

    def batch(self, examples: Sequence[Any]) -> Batch:
        """What the model is called with."""
        return self._reader.batch(examples)

    def logits(self, examples: Sequence[Any], tell: Callable[[int, int], None] | None = None) -> Array:
        """Logits (n, c) in the order of the examples. tell : is given the rows done so far and n.

        Raises Unreadable if the program fails on them.
        """
        order = np.argsort([len(row) for row in self.tokens(examples)], kind="stable")
        result: Array | None = None
        for start in range(0, len(order), BATCH_ROWS):
            rows = order[start : start + BATCH_ROWS]
            with reading("model"):
                own, _ = self.forward(self.batch([examples[i] for i in rows]))
            if result is None:
                result = np.empty((len(examples), own.shape[1]))
            result[rows] = own
            if tell:
                tell(min(start + BATCH_ROWS, len(order)), len(order))
        assert result is not None, "there are always rows"
        return result


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns whatever the other program raises over a part of the export into `Unreadable`."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise Unreadable(f"its {what} gives {type(error).__name__}: {reason}".rstrip(": .")) from error
