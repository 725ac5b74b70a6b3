"""The task of images: what is encoded, what is refused, how hidden states are pooled, what `auto` means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import models as m
from honed.bases import resolve
from honed.config import make_config
from honed.data.image_files import examine_all
from honed.data.loading import LoadedData, load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from honed.errors import BaseModelError, DataError, UsageError
from honed.pipeline.settle import auto_image_size, settle
from honed.tasks import image_classification
from honed.tasks.base import check_head, discover_tasks, get_task
from honed.tasks.image_classification import TASK, ImageClassification, check_image_size
from honed.tasks.image_reading import ImageReading
from honed.training.build import StackSpec, build_stack, encode
from honed.training.loop import predict
from image_files import encoded, picture, write_images
from image_runs import save_tiny_image_base, write_coloured

READING = ImageReading(28, "letterbox", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 3)


def test_tasks_are_discovered() -> None:
    assert list(discover_tasks()) == ["image_classification", "instruction", "preference", "text_classification"]
    with pytest.raises(UsageError, match="Did you mean 'image_classification'"):
        get_task("image_clasification")
    check_head(TASK, "both")
    with pytest.raises(UsageError, match="--head both"):
        check_head(get_task("text_classification"), "both")


def test_pixels_are_kept_as_bytes_and_normalised_in_the_batch(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(5)]
    write_images(tmp_path, {name: encoded(picture(i, 50)) for i, name in enumerate(names)})
    task = m.tiny_task("dinov2")
    files = examine_all(names, tmp_path)
    pixels = task.encode(files)
    assert (pixels.shape, pixels.dtype) == ((5, 28, 28, 3), np.uint8)
    assert task.n_tokens(pixels).tolist() == [5] * 5
    batch = task.collate([pixels[3], pixels[1]])
    assert list(batch) == ["pixel_values"]
    expected = torch.from_numpy(pixels[[3, 1]].transpose(0, 3, 1, 2) / 127.5 - 1).float()
    torch.testing.assert_close(batch["pixel_values"], expected, rtol=0, atol=1e-6)
    assert task.as_read(pixels)[0] != task.as_read(pixels)[1]


def test_pixels_that_would_fill_the_memory_go_to_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_images(tmp_path, {"a.png": encoded(picture(0, 50))})
    files = examine_all(["a.png"], tmp_path)
    in_memory = m.tiny_task("dinov2").encode(files)
    monkeypatch.setattr(image_classification, "PIXELS_FRAC", 0.0)
    on_disk = m.tiny_task("dinov2").encode(files)
    assert isinstance(on_disk, np.memmap) and np.array_equal(on_disk, in_memory)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, {"a.png": encoded(picture(0))})
    files = examine_all(["a.png"], tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"'a\.png' cannot be used: there is no such file"):
        m.tiny_task("dinov2").encode(files)


def test_pooling_leaves_special_tokens_out_of_the_mean() -> None:
    hidden = torch.arange(2 * 6 * 3, dtype=torch.float64).view(2, 6, 3)
    task = ImageClassification(READING, length=6, n_special=2)
    for head, width in (("cls", 1), ("mean", 1), ("both", 2), ("native", 2)):
        pool, n = task.pooling(head)
        assert (n, pool(hidden, None).shape) == (width, (2, 3 * width))
    torch.testing.assert_close(task.pooling("mean")[0](hidden, None), hidden[:, 2:].mean(1))
    torch.testing.assert_close(task.pooling("both")[0](hidden, None)[:, :3], hidden[:, 0])


@pytest.mark.parametrize("head", ["cls", "mean", "both", "native"])
def test_a_stack_over_a_base_of_files(tmp_path: Path, head: str) -> None:
    base = save_tiny_image_base(tmp_path / "base")
    options = m.get_method("lora").options(rank=2)
    reading = replace(READING, size=42).to_json()
    spec = StackSpec("lora", options, head, 1, ("a", "b"), 0, device="cpu", task=TASK.name, reading=reading)  # type: ignore[arg-type]
    stack = build_stack(base, spec, [0])
    assert (stack.task.length, stack.task.n_special) == (1 + 3 * 3, 1)  # positions are interpolated
    write_images(tmp_path, {f"{i}.png": encoded(picture(i)) for i in range(4)})
    inputs = encode(stack, examine_all([f"{i}.png" for i in range(4)], tmp_path))
    logits = predict(stack, inputs, None, 0, np.arange(4))
    assert logits.shape == (4, 2)
    assert stack.features(inputs, None, np.arange(4)).shape == (4, 32 * (1 + (head in ("both", "native"))))


@pytest.mark.parametrize(("size", "is_good"), [(14, True), (28, True), (15, False), (7, False)])
def test_sizes_are_multiples_of_the_patches(size: int, *, is_good: bool) -> None:
    if is_good:
        check_image_size(size, 14)
    else:
        with pytest.raises(UsageError, match=rf"--image-size {size} is no multiple"):
            check_image_size(size, 14)


def test_a_base_without_a_grid_of_patches_is_refused(tmp_path: Path) -> None:
    base = save_tiny_image_base(tmp_path / "base")
    model = m.tiny_model("dinov2", "float32")
    model.config.patch_size = 7  # as if the model merged patches
    with pytest.raises(BaseModelError, match="no grid of 4 x 4 patches"):
        TASK.over(base, READING.to_json(), model)
    with pytest.raises(BaseModelError, match="does not read images in patches"):
        TASK.over(base, READING.to_json(), m.tiny_model("bert", "float32"))


def loaded(folder: Path) -> LoadedData:
    return load_dataset(read_table(str(folder)), Roles(), require_label=True)


def test_auto_is_settled_by_the_data(tmp_path: Path) -> None:
    base = save_tiny_image_base(tmp_path / "base")
    config = make_config({"data": str(write_coloured(tmp_path / "data", 12)), "base": str(base.path)})
    settled, found = settle(config, loaded(tmp_path / "data"))
    assert (settled.task, settled.head, found.path) == ("image_classification", "both", resolve(str(base.path)).path)
    assert settled.image_size == auto_image_size(loaded(tmp_path / "data"), 14)
    named = make_config({"base": str(base.path), "head": "cls", "image_size": 42})
    assert (
        settle(named, loaded(tmp_path / "data"))[0].head,
        settle(named, loaded(tmp_path / "data"))[0].image_size,
    ) == (
        "cls",
        42,
    )


@pytest.mark.parametrize(("side", "patches"), [(10, 4), (84, 6), (112, 8), (500, 16)])
def test_the_automatic_size_follows_the_images_within_bounds(tmp_path: Path, side: int, patches: int) -> None:
    folder = write_images(tmp_path, {f"{i}.png": encoded(picture(i, side)) for i in range(4)})
    assert auto_image_size(loaded(folder), 14) == 14 * patches
