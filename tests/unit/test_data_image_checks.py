"""Copies of images become one group, real or lightly changed; what only looks alike stays apart."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from honed.data.checks import CheckResult
from honed.data.dataset import Dataset
from honed.data.image_checks import image_checks
from honed.data.image_files import examine, examine_all
from honed.data.image_likeness import THRESHOLD, near_image_pairs
from honed.data.loading import load_dataset
from honed.data.readers import read_table
from honed.data.roles import Roles
from image_files import encoded, picture, write_images

N = 40


def check(folder: Path, images: dict[str, bytes], labels: list[str] | None = None) -> tuple[CheckResult, Dataset]:
    dataset = load_dataset(read_table(str(write_images(folder, images, labels))), Roles(), require_label=True).dataset
    return image_checks(dataset, folds=5), dataset


def pictures() -> dict[str, bytes]:
    return {f"{i}.png": encoded(picture(i, size=48)) for i in range(N)}


def test_distinct_images_have_no_findings(tmp_path: Path) -> None:
    checked, dataset = check(tmp_path, pictures())
    assert len(checked.issues) == 0
    assert checked.dataset.group.tolist() == dataset.group.tolist()
    assert checked.summary["image_sizes"] == [{"width": 48, "height": 48, "n": N}]
    assert checked.summary["image_modes"] == {"PNG RGB": N}


def test_copies_and_their_conflicts_are_found(tmp_path: Path) -> None:
    images = pictures() | {"copy.png": encoded(picture(0, size=48)), "other.png": encoded(picture(1, size=48))}
    labels = [*("ab"[i % 2] for i in range(N)), "a", "a"]
    checked, _ = check(tmp_path, images, labels)
    assert checked.issues.counts() == {"conflicting_label": 2, "exact_duplicate": 4}
    group = checked.dataset.group.tolist()
    assert (group[0], group[1]) == (group[N], group[N + 1])
    assert sorted(checked.issues.where("conflicting_label").row.tolist()) == [1, N + 1]
    assert checked.summary["conflicts"] == 1


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "recompressed": lambda image: encoded(image, "JPEG", quality=60),
    "half the size": lambda image: encoded(image.resize((24, 24), Image.Resampling.BICUBIC)),
    "twice the size": lambda image: encoded(image.resize((96, 96), Image.Resampling.BICUBIC)),
    "lighter": lambda image: encoded(image.point(lambda v: min(255, int(v * 0.9 + 20)))),
    "grey": lambda image: encoded(image.convert("L")),
    "noisy": lambda image: encoded(
        np.clip(np.asarray(image) + np.random.default_rng(0).normal(0, 4, (48, 48, 3)), 0, 255).astype(np.uint8)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_near(tmp_path: Path, change: str) -> None:
    original = Image.fromarray(picture(3, size=48))
    checked, _ = check(
        tmp_path, pictures() | {"changed.png": CHANGES[change](original)}, ["ab"[i % 2] for i in range(N + 1)]
    )
    found = checked.issues.where("near_duplicate")
    assert sorted(found.row.tolist()) == [3, N]
    assert checked.dataset.group[3] == checked.dataset.group[N]
    assert set(found.action.tolist()) == {"group"}
    conflict = checked.issues.where("near_duplicate_conflict")  # row 3 is b, row 40 is a
    assert set(conflict.action.tolist()) == {"review"}
    assert "which is labelled 'b'" in conflict.evidence[conflict.row.tolist().index(N)]


def test_what_all_images_share_does_not_make_them_alike() -> None:
    rng = np.random.default_rng(0)
    shared = picture(7, size=16, channels=1).astype(float)
    own = [np.clip(shared + rng.normal(0, 2.5, (16, 16)), 0, 255) for _ in range(60)]
    thumbnails = [values.astype(np.uint8).ravel() for values in own]
    plain = np.corrcoef(np.stack(thumbnails))[np.triu_indices(60, 1)]
    assert (plain > THRESHOLD).mean() > 0.9  # a plain correlation calls nearly all of them one image
    assert near_image_pairs(thumbnails) == []
    copy = np.clip(own[5] + 3, 0, 255).astype(np.uint8).ravel()
    assert [(pair.i, pair.j) for pair in near_image_pairs([*thumbnails, copy])] == [(5, 60)]


def test_few_images_blank_images_and_none() -> None:
    same = picture(1, size=16, channels=1).ravel()
    assert [(p.i, p.j) for p in near_image_pairs([same, same])] == [(0, 1)]
    blank = np.full(256, 9, np.uint8)
    assert near_image_pairs([blank, np.full(256, 10, np.uint8), same]) == []
    assert near_image_pairs([]) == near_image_pairs([same]) == []


def test_chunks_lose_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    thumbnails = [picture(i % 23, size=16, channels=1).ravel() for i in range(60)]
    whole = near_image_pairs(thumbnails)
    monkeypatch.setattr("honed.data.image_likeness._CHUNK", 7)
    assert [(p.i, p.j) for p in near_image_pairs(thumbnails)] == sorted((p.i, p.j) for p in whole)
    assert len(whole) == sum(i % 23 == j % 23 for i in range(60) for j in range(i))


def test_findings_do_not_depend_on_the_order(tmp_path: Path) -> None:
    images = pictures() | {f"c{i}.jpg": encoded(picture(i, size=48), "JPEG", quality=70) for i in range(5)}
    _, dataset = check(tmp_path, images)
    turned = dataset.take(np.arange(len(dataset))[::-1])
    one, two = image_checks(dataset, folds=5), image_checks(turned, folds=5)
    assert sorted(one.issues.evidence.tolist()) == sorted(two.issues.evidence.tolist())
    assert one.dataset.group.tolist() == two.dataset.group.tolist()[::-1]


def test_oddities_are_told_and_the_rows_kept(tmp_path: Path) -> None:
    frames = [Image.fromarray(picture(i, channels=1)) for i in (90, 91)]
    odd = {
        "dot.png": encoded(np.full((1, 1), 7, np.uint8)),
        "black.png": encoded(np.zeros((30, 30), np.uint8)),
        "wrong.png": encoded(picture(80, size=48), "JPEG"),
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    }
    checked, dataset = check(tmp_path, pictures() | odd)
    assert len(dataset) == N + 4
    assert checked.issues.counts() == {
        "blank_image": 1, "mislabelled_format": 1, "several_frames": 1, "tiny_image": 1
    }  # fmt: skip
    assert checked.issues.row.tolist() == [N, N + 1, N + 2, N + 3]


def test_images_of_the_test_file_are_found_in_ours(tmp_path: Path) -> None:
    _, dataset = check(tmp_path, pictures())
    (tmp_path / "theirs.jpg").write_bytes(encoded(picture(4, size=48), "JPEG", quality=60))
    test = [examine("2.png", tmp_path), examine("theirs.jpg", tmp_path), *examine_all(["none.png"], tmp_path)]
    found = image_checks(dataset, folds=5, test_inputs=test).issues.where("test_contamination")
    assert sorted(found.row.tolist()) == [2, 4]


def test_groups_of_many_copies_are_told(tmp_path: Path) -> None:
    same = {f"s{i}.png": encoded(picture(3, size=48)) for i in range(20)}
    checked, _ = check(tmp_path, pictures() | same)
    assert checked.issues.counts()["large_group"] == 1
    assert checked.summary["largest_group"] == 21


@pytest.mark.parametrize(
    ("name", "n_near", "n_exact"), [("retina", 48, 0), ("pneumonia", 0, 15), ("cxr_shenzhen", 0, 0)]
)
def test_on_real_medical_images_only_real_copies_are_merged(
    shared_data: Path, name: str, n_near: int, n_exact: int
) -> None:
    """Looked at by eye: the 24 pairs of the fundus photographs at .99 are copies, those at .986 and below are not."""
    folder = shared_data / name
    if not (folder / "metadata.csv").is_file():
        pytest.skip(f"NOT RUN: needs {folder}")
    with (folder / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    dataset = load_dataset(read_table(str(folder)), Roles(), require_label=True).dataset
    assert len(dataset) == len(rows)
    counts = image_checks(dataset, folds=5).issues.counts()
    assert (counts.get("near_duplicate", 0), counts.get("exact_duplicate", 0)) == (n_near, n_exact)
