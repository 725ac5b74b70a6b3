"""Image classification: one label an image."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import psutil

from honed.bases import ResolvedBase
from honed.data.image_files import ImageFile
from honed.data.images import UnreadableImage, decode, read_bytes, sha256_of, strict_pillow
from honed.errors import BaseModelError, DataError, UsageError
from honed.tasks.base import Reading, cross_entropy
from honed.tasks.image_reading import ImageReading

if TYPE_CHECKING:
    import torch

    from honed.tasks.heads import Pooling

_THREADS = 4
PIXELS_FRAC = 0.25
"""Of the free memory; pixels that take more lie in a file."""
_MOST_SPECIAL_TOKENS = 16


class ImageClassification:
    """encode image files to pixels, collate them to a batch, and give the loss of each row.

    length : tokens of an image.    n_special : how many of them, at the front, are no patches.
    """

    name: ClassVar[str] = "image_classification"
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss", "auroc", "ece")
    default_base: ClassVar[str] = "dinov2-small"
    default_head: ClassVar[str] = "both"
    heads: ClassVar[tuple[str, ...]] = ("mean", "cls", "both", "native")
    auto_class: ClassVar[str] = "AutoModelForImageClassification"
    has_classes: ClassVar[bool] = True
    n_parts: ClassVar[int] = 1
    has_reference: ClassVar[bool] = False
    layers_frac: ClassVar[float] = 0.5
    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": 8,
        "views": 4,
        "batch_size": 32,
        "stop_frac": 0.0,
    }
    least_steps: ClassVar[int] = 120
    micro_batch_tokens: ClassVar[int] = 8192
    tokenizer = None

    def __init__(self, reading: ImageReading, length: int, n_special: int) -> None:
        self.reading, self.length, self.n_special = reading, length, n_special

    @classmethod
    def over(cls, base: ResolvedBase, reading: Reading, model: Any) -> Self:
        """See `Task`. reading : an `ImageReading` as JSON."""
        own = ImageReading.from_json(reading)
        patch = patch_size(base, model.config.to_dict())
        length = _token_count(base, model, own.size)
        n_special = length - (own.size // patch) ** 2
        if not 0 <= n_special <= _MOST_SPECIAL_TOKENS:
            raise BaseModelError(
                f"Base {base.name!r} turns an image of {own.size} pixels into {length} tokens, which are no grid of "
                f"{own.size // patch} x {own.size // patch} patches.",
                remedy="honed adapts plain vision transformers (ViT, DeiT, DINOv2); choose such a base.",
            )
        return cls(own, length, n_special)

    def pooling(self, head: str) -> tuple[Pooling, int]:
        """See `Task`."""
        import torch

        from honed.tasks.heads import first_token

        def patches(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            del mask
            return hidden[:, self.n_special :].mean(1)

        def both(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            return torch.cat([first_token(hidden, mask), patches(hidden, mask)], dim=1)

        if head == "cls":
            return first_token, 1
        return (patches, 1) if head == "mean" or not self.n_special else (both, 2)

    def to_json(self) -> dict[str, Any]:
        """See `Task`; with the number of tokens that are no patches, for whoever pools them."""
        return self.reading.to_json() | {"n_special_tokens": self.n_special}

    @property
    def n_views(self) -> int:
        """See `Task`."""
        return self.reading.n_views

    @property
    def n_averaged(self) -> int:
        """See `Task`."""
        return self.reading.n_averaged

    def encode(self, inputs: Sequence[ImageFile | bytes]) -> npt.NDArray[np.uint8]:
        """The pixels of every view of each image, (n * n_views, size, size, 3); bytes are the content of a file.

        They lie in a file without a name if they would fill the memory.

        Raises DataError if an image can no longer be read, or is another one than when the data were checked.
        """
        shape = (len(inputs), self.n_views, self.reading.size, self.reading.size, 3)
        store = _store(shape)
        with strict_pillow(), ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            for i, pixels in enumerate(pool.map(self._read, inputs)):
                store[i] = pixels
        return store.reshape(-1, *shape[2:])

    def _read(self, file: ImageFile | bytes) -> npt.NDArray[np.uint8]:
        if isinstance(file, bytes):
            try:
                return self.reading.views(decode(file).image, sha256_of(file))
            except UnreadableImage as error:
                raise DataError(f"The image cannot be used: {error.problem}.") from error
        try:
            data = read_bytes(file.path)
            if sha256_of(data) != file.sha256:
                raise UnreadableImage("its content changed while the program ran")
            return self.reading.views(decode(data).image, file.sha256)
        except UnreadableImage as error:
            raise DataError(f"Image {file.name!r} cannot be used: {error.problem}.") from error

    def n_tokens(self, encoded: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.int64]:
        """See `Task`: the same for all images."""
        return np.full(len(encoded), self.length, dtype=np.int64)

    def row_weights(self, encoded: Sequence[Any]) -> npt.NDArray[np.float64]:
        """See `Task`: all alike."""
        return np.ones(len(encoded))

    def as_read(self, encoded: Sequence[npt.NDArray[np.uint8]]) -> list[list[int]]:
        """See `Task`: the sha256 of the pixels."""
        return [list(hashlib.sha256(pixels.tobytes()).digest()) for pixels in encoded]

    def collate(self, encoded: Sequence[npt.NDArray[np.uint8]]) -> dict[str, torch.Tensor]:
        """pixel_values, (rows, 3, size, size), normalised."""
        import torch

        return {"pixel_values": torch.from_numpy(self.reading.normalise(np.stack(list(encoded))))}

    def content(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """See `Task`: the patches, which come after the special tokens, row by row of the grid."""
        import torch

        pixels = batch["pixel_values"]
        places = torch.arange(self.length, device=pixels.device) >= self.n_special
        return places.expand(len(pixels), -1)

    def blanked(self, batch: Mapping[str, torch.Tensor], tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `Task`: a blank patch has the mean colour of its image."""
        import torch

        pixels = batch["pixel_values"]
        side = math.isqrt(self.length - self.n_special)
        grid = tokens[:, None, self.n_special :].view(-1, 1, side, side)
        patch = pixels.shape[-1] // side
        blank = grid.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
        return {**batch, "pixel_values": torch.where(blank, pixels.mean(dim=(2, 3), keepdim=True), pixels)}

    @staticmethod
    def loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each row in nats. logits: (rows, c), label: (rows,) -> (rows,)."""
        return cross_entropy(logits, label)


TASK = ImageClassification


def patch_size(base: ResolvedBase, config: Mapping[str, Any]) -> int:
    """Pixels of a patch's side, by the base's config.json.

    Raises BaseModelError if the base has no square patches: it reads no images, or in another way.
    """
    size = config.get("patch_size")
    if not isinstance(size, int) or size < 1:
        raise BaseModelError(
            f"Base {base.name!r} ({base.architecture}) does not read images in patches.",
            remedy="For images use --base dinov2-small, or another vision transformer.",
        )
    return size


def check_image_size(size: int, patch: int) -> None:
    """Raises UsageError if the square cannot be cut into patches."""
    if size % patch or size < patch:
        low = max(size // patch, 1) * patch
        raise UsageError(
            f"--image-size {size} is no multiple of the base's patches of {patch} pixels.",
            remedy=f"Use --image-size {low} or {low + patch}.",
        )


def _token_count(base: ResolvedBase, model: Any, size: int) -> int:
    """Tokens into which the base turns one image."""
    import torch

    first = next(iter(model.parameters()))
    blank = torch.zeros(1, 3, size, size, dtype=first.dtype, device=first.device)
    try:
        with torch.inference_mode():
            return int(model.base_model(pixel_values=blank).last_hidden_state.shape[1])
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        wanted = getattr(model.config, "image_size", None)
        raise BaseModelError(
            f"Base {base.name!r} cannot read images of {size} pixels: {str(error).strip().splitlines()[0]}",
            remedy=f"Use --image-size {wanted}, for which it was made." if isinstance(wanted, int) else "",
        ) from error


def _store(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """An array for pixels in RAM, or in a temporary file if it would take more than a quarter of the free memory."""
    if np.prod(shape, dtype=np.int64) <= PIXELS_FRAC * psutil.virtual_memory().available:
        return np.empty(shape, dtype=np.uint8)
    with tempfile.TemporaryFile(prefix="honed-pixels-") as file:  # the mapping keeps it until the array goes
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
