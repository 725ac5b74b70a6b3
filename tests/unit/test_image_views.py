"""Views of images: which there are, that they are the same wherever they are made, and that the cache stays exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import honed
import models as m
from honed.artifact import load_artifact
from honed.errors import UsageError
from honed.events import Emitter
from honed.pipeline.export import export
from honed.tasks.image_views import augmentations, symmetries, view_of
from honed.training.crossval import cross_validate
from honed.training.loop import Examples, Loop, log_softmax, predict
from honed.training.stack import Inputs
from image_files import picture
from image_runs import save_tiny_image_base, write_coloured
from tolerances import tolerance

KEY = "0123456789abcdef" * 4


def view(number: int, *kinds: str, key: str = KEY) -> np.ndarray:
    return np.asarray(view_of(Image.fromarray(picture(0)), number, kinds, key))


@pytest.mark.parametrize(
    ("kinds", "n"),
    [((), 1), (("mirror",), 2), (("flip",), 2), (("mirror", "flip"), 4), (("turn",), 4), (("mirror", "turn"), 8)],
)
def test_symmetries_are_all_different_and_closed(kinds: tuple[str, ...], n: int) -> None:
    assert len(symmetries(kinds)) == n and symmetries(kinds)[0] == (False, 0)
    views = [view(number, *kinds) for number in range(n)]
    assert len({one.tobytes() for one in views}) == n
    again = {
        np.asarray(view_of(Image.fromarray(one), number, kinds, KEY)).tobytes() for one in views for number in range(n)
    }
    assert again == {one.tobytes() for one in views}
    assert np.array_equal(view(n, *kinds), views[0])  # they begin anew


def test_what_the_kinds_do() -> None:
    plain = view(0, "mirror")
    assert np.array_equal(plain, picture(0))
    assert np.array_equal(view(1, "mirror"), plain[:, ::-1])
    assert np.array_equal(view(1, "flip"), plain[::-1])
    assert np.array_equal(view(1, "turn"), np.rot90(plain))
    cropped = view(1, "crop")
    assert all(0.8 * 24 <= side <= 24 for side in cropped.shape[:2])
    assert view(1, "tilt").shape == plain.shape and not np.array_equal(view(1, "tilt"), plain)


def test_a_view_depends_on_its_number_and_the_image_alone() -> None:
    drawn = ("tilt", "crop")
    assert np.array_equal(view(3, *drawn), view(3, *drawn))
    assert view(3, *drawn).tobytes() != view(4, *drawn).tobytes()
    assert view(3, *drawn).tobytes() != view(3, *drawn, key="f" * 64).tobytes()


def test_augmentations_are_named() -> None:
    assert augmentations("tilt, mirror,tilt") == ("mirror", "tilt")
    for text in ("", "mirror,blur"):
        with pytest.raises(UsageError, match="--augment"):
            augmentations(text)


def examples(n_views: int, n_averaged: int) -> Examples:
    """18 rows whose views differ a little."""
    rng = np.random.default_rng(0)
    plain = m.make_examples("dinov2")
    encoded = [
        np.clip(pixels + rng.integers(-20, 20, pixels.shape), 0, 255).astype(np.uint8)
        for pixels in plain.inputs.encoded
        for _ in range(n_views)
    ]
    return Examples(Inputs(encoded, plain.inputs.n_tokens, n_views, n_averaged), *list(vars(plain).values())[1:])


def test_every_view_is_seen_once_in_as_many_epochs() -> None:
    inputs = examples(3, 3).inputs
    seen = np.stack([inputs.drawn(5, epoch).at(np.arange(18)) for epoch in range(3)])
    assert np.array_equal(np.sort(seen, axis=0), np.arange(54).reshape(18, 3).T)
    assert len(set(seen[0] % 3)) == 3  # not all rows in the same view
    assert np.array_equal(inputs.at(np.array([2, 0])), [6, 0])


@pytest.mark.parametrize("method", ["lora", "prefix", "full"])
def test_cached_views_are_trained_as_without_a_cache(method: str) -> None:
    rows = examples(3, 3)
    trained = []
    for cached in (False, True):
        stack = m.make_stack("dinov2", range(2), method=method, depth=1, head="both")
        trunk = m.make_trunk(stack, rows) if cached else None
        trained.append(m.train(stack, trunk, rows, m.make_plans(rows, has_stop=False)[:2]).state)
    torch.testing.assert_close(*trained, **tolerance("weights_after_training", "float64"))


def test_a_prediction_is_the_mean_of_the_probabilities() -> None:
    rows = examples(4, 4)
    stack = m.make_stack("dinov2", range(1), depth=1, head="both")
    m.train(stack, None, rows, m.make_plans(rows, has_stop=False)[:1])
    mean = np.exp(predict(stack, rows.inputs, None, 0, rows.rows))
    single = [
        np.exp(log_softmax(predict(stack, Inputs(rows.inputs.encoded[v::4], rows.inputs.n_tokens), None, 0, rows.rows)))
        for v in range(4)
    ]
    np.testing.assert_allclose(mean, np.mean(single, axis=0), rtol=1e-9)
    first = Inputs(rows.inputs.encoded, rows.inputs.n_tokens, 4, 1)
    np.testing.assert_allclose(np.exp(log_softmax(predict(stack, first, None, 0, rows.rows))), single[0], rtol=1e-9)


def test_out_of_fold_rows_are_averaged_too() -> None:
    rows = examples(2, 2)
    stack = m.make_stack("dinov2", range(6), depth=1, head="both")
    found = cross_validate(Loop(stack, None, rows, m.QUICK, Emitter()), m.make_plan(rows)).predictions
    assert np.allclose(np.exp(found.logits).sum(axis=1), 1)


@pytest.mark.parametrize("average", [True, False])
def test_a_run_with_views_serves_what_was_judged(tmp_path: Path, *, average: bool) -> None:
    base, folder = save_tiny_image_base(tmp_path / "base"), write_coloured(tmp_path / "data", 45)
    run = honed.fit(
        folder, base=str(base.path), image_size=28, folds=2, epochs=2, depth=1, views=3, augment="mirror,crop",
        average_views=average, device="cpu", out=tmp_path / "run",
    )  # fmt: skip
    reading = load_artifact(run.path / "adapter").info.reading
    assert (reading["n_views"], reading["augment"], reading["n_averaged"]) == (
        3,
        ["crop", "mirror"],
        3 if average else 1,
    )
    if average:
        with pytest.raises(UsageError, match="--no-average-views"):
            export(run.path, to="peft")
    else:
        assert export(run.path, to="peft").parity["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("settings", "message"), [({"views": 3, "augment": "blur"}, "'blur' is not known"), ({"views": 0}, "--views")]
)
def test_senseless_views_are_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    base, folder = save_tiny_image_base(tmp_path / "base"), write_coloured(tmp_path / "data", 45)
    with pytest.raises(UsageError, match=message):
        honed.fit(folder, {"base": str(base.path), "image_size": 28, "out": tmp_path / "run"} | settings)


def test_views_are_not_for_texts(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"message number {i},{'ab'[i % 2]}\n" for i in range(40)))
    with pytest.raises(UsageError, match="--views 4 is for images"):
        honed.fit(file, views=4, out=tmp_path / "run")
