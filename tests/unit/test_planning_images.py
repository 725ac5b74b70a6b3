"""`honed plan` of images: counts against really built stacks, and what size and views cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from honed.config import make_config
from honed.errors import BaseModelError, UsageError
from honed.methods.base import discover, get_method
from honed.pipeline.plan import AssumedData, plan
from honed.planning.memory import plan_disk
from honed.planning.plan import Plan
from honed.planning.rehearsal import Rehearsal, Specialist
from honed.planning.shapes import image_tokens, read_base_shape
from honed.planning.workload import Batch
from honed.tasks.image_reading import ImageReading
from honed.training.build import StackSpec, build_stack
from image_runs import save_tiny_image_base, write_coloured

READING = ImageReading(28, "letterbox", (0.5,) * 3, (0.5,) * 3, 3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_image_base(tmp_path_factory.mktemp("base")).path


def specialist(method: str, head: str) -> Specialist:
    options = get_method(method).options()
    return Specialist(method, options, head, 2, "float32", 3, task="image_classification", reading=READING.to_json())


@pytest.mark.parametrize(
    ("method", "head"), [*((name, "both") for name in sorted(discover())), ("lora", "native"), ("lora", "cls")]
)
def test_parameters_and_tokens_are_those_of_a_really_built_stack(base: Path, method: str, head: Any) -> None:
    from honed.bases import resolve

    shape = read_base_shape(str(base))
    found = Rehearsal(shape, specialist(method, head), 3).parameters
    spec = StackSpec(
        method, get_method(method).options(), head, 2, ("a", "b", "c"), 8, device="cpu", task="image_classification",
        reading=READING.to_json(),
    )  # fmt: skip
    stack = build_stack(resolve(str(base)), spec, [0])
    assert found.adapter == sum(p.numel() for p in stack.adapter_parameters(0).values())
    assert found.head == sum(p.numel() for p in stack.head_parameters(0).values())
    assert found.base == stack.n_base_parameters
    assert image_tokens(shape, READING) == stack.task.n_tokens([np.zeros(1, np.uint8)])[0] == 5


def test_larger_images_work_more_and_hold_more(base: Path) -> None:
    shape, own = read_base_shape(str(base)), specialist("lora", "both")
    small, large = (
        Rehearsal(shape, replace(own, reading=replace(READING, size=size).to_json()), 3).train(Batch(8, tokens), 0.8)
        for size, tokens in ((28, 5), (56, 17))
    )
    assert large.work.flop > 2 * small.work.flop
    assert large.peak_bytes > 2 * small.peak_bytes


def planned(base: Path | str, data: Path, **changes: Any) -> Plan:
    values = {"base": str(base), "folds": 3, "epochs": 2, "depth": 1, "holdout_frac": 0.2, "image_size": 28} | changes
    return plan(make_config(values | {"data": str(data)}), machines=["L4"])


def test_data_that_are_there_are_read_and_views_are_counted(base: Path, tmp_path: Path) -> None:
    data = write_coloured(tmp_path / "data", 45, broken_png=b"junk")
    one, three = planned(base, data, views=1), planned(base, data, views=3, average_views=True)
    load = three.request.workload
    assert (load.rows, load.n_classes, load.development, load.lengths.tolist()) == (45, 3, 36, [5])
    assert load.images is not None and (load.images.file_pixels, load.n_views, load.n_averaged) == (400, 3, 3)
    assert three.facts.trunk_bytes == 3 * one.facts.trunk_bytes == 3 * 36 * 5 * one.request.base.hidden_size * 4
    assert three.facts.pixel_bytes == 36 * 3 * 28 * 28 * 3
    assert three.work.trunk.flop == pytest.approx(3 * one.work.trunk.flop)
    assert planned(base, data, views=3, average_views=False).work.gate.flop < three.work.gate.flop
    assert three.to_json()["image_size"] == 28
    assert plan_disk(replace(three.facts, pixels_in_ram=False), keeps_texts=True).during["encoded images"] > 0


def test_without_data_images_are_assumed_where_the_task_says_so(base: Path) -> None:
    config = make_config({"base": str(base), "depth": 1, "task": "image_classification"})
    found = plan(config, machines=["L4"], assumed=AssumedData(rows=500, n_classes=4))
    assert found.request.workload.images is not None and found.request.workload.rows == 500
    assert "500 images of that size in 4 classes were assumed" in " ".join(found.request.notes)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"image_size": 30}, UsageError, "no multiple of the base's patches"),
        ({"head": "last"}, UsageError, "head"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    base: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        planned(base, write_coloured(tmp_path / "data", 45), **changes)


def test_a_base_that_reads_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="does not read images in patches"):
        planned("100b", write_coloured(tmp_path / "data", 45))


def test_a_budget_chooses_the_method_before_the_plan_is_made(base: Path, tmp_path: Path) -> None:
    found = planned(base, write_coloured(tmp_path / "data", 45), parameters="600", depth="auto")
    assert 0 < found.parameters.adapter <= 600
    assert "of the budget of 600" in found.request.notes[0]
