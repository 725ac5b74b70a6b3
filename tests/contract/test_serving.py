"""What serving promises for every method: many specialists in one pass answer as each of them does alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models as m
from honed.artifact import load_artifact
from honed.bases import ResolvedBase, resolve
from honed.methods.base import discover, get_method
from honed.serving.batcher import Batcher, BatchLimits
from honed.serving.engine import load_specialist
from honed.serving.family import FrozenBase, family_key
from honed.serving.store import Entry, Runs
from image_runs import coloured
from served import make_base, make_specialist
from tolerances import tolerance

METHODS = list(discover())
PACKED = ("bottleneck", "lora", "prefix")
# Specialists of one pass need not agree in size.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "lora": [{"rank": 4}, {"rank": 2, "alpha": 7.0}, {"rank": 8, "rslora": True}],
    "bottleneck": [{"size": 4}, {"size": 6}, {"size": 2}],
    "prefix": [{"tokens": 3}, {"tokens": 5}, {"tokens": 1}],
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResolvedBase]:
    folder = tmp_path_factory.mktemp("bases")
    return {name: make_base(folder / name, name) for name in ("bert", "llama", "gemma3", "modernbert", "dinov2")}


@contextmanager
def batcher(
    folders: Mapping[str, Path], base: ResolvedBase, **limits: Any
) -> Iterator[tuple[Batcher, dict[str, Entry]]]:
    registry = Runs(folders)
    made = Batcher(registry, FrozenBase(base, "cpu"), BatchLimits(**{"wait_s": 0.2} | limits))
    try:
        yield made, dict(registry.entries())
    finally:
        made.close()


def inputs_of(name: str, n: int = 4) -> list[Any]:
    return list(coloured(n).values()) if name == "dinov2" else m.toy_texts(n)[0]


def alone(folder: Path, inputs: list[Any], tmp_path: Path) -> np.ndarray[Any, Any]:
    """Logits of `honed predict`."""
    specialist = load_specialist(folder, device="cpu")
    if isinstance(inputs[0], bytes):
        from honed.data.image_files import examine

        for i, data in enumerate(inputs):
            (tmp_path / f"{i}.png").write_bytes(data)
        inputs = [examine(f"{i}.png", tmp_path) for i in range(len(inputs))]
    return np.concatenate([specialist.logits([one]) for one in inputs])


def test_what_packs_is_what_was_promised() -> None:
    assert [name for name in METHODS if get_method(name).pack_key(get_method(name).options()) is not None] == [*PACKED]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "head", "depth"),
    [
        ("bert", "mean", 1), ("bert", "native", 2), ("bert", "cls", 3), ("llama", "mean", 3), ("llama", "native", 1),
        ("gemma3", "mean", 4), ("modernbert", "mean", 2), ("dinov2", "both", 1), ("dinov2", "native", 3),
    ],
)  # fmt: skip
def test_a_mixed_batch_answers_as_each_specialist_alone(
    bases: dict[str, ResolvedBase], tmp_path: Path, method: str, name: str, head: str, depth: int
) -> None:
    options = VARIANTS.get(method, [{}, {}])
    sizes = [3, 3, 3] if head == "native" else [3, 5, 2]
    folders = {
        f"s{i}": make_specialist(
            tmp_path / f"s{i}", bases[name], i, method=method, head=head, depth=depth, n_classes=sizes[i], **own
        )
        for i, own in enumerate(options)
    }
    inputs = inputs_of(name)
    asked = [(who, i) for i in range(len(inputs)) for who in folders]
    with batcher(folders, bases[name]) as (served, entries):
        for _ in range(2):  # the second time the frozen part is remembered
            futures = served.submit([(entries[who], inputs[i]) for who, i in asked])
            answers = {pair: future.result(60) for pair, future in zip(asked, futures, strict=True)}
        n_batches, is_packed = served.counts.n_batches, method in PACKED
    assert n_batches == 2 * (1 if is_packed else len(folders))
    for who, folder in folders.items():
        expected = alone(folder, inputs, tmp_path)
        got = np.array([answers[who, i].logits for i in range(len(inputs))])
        np.testing.assert_allclose(got, expected, **tolerance("logits_same_weights", "float32"))
    assert not np.allclose(answers["s0", 0].logits[:2], answers["s1", 0].logits[:2]), "they should differ"


@pytest.mark.parametrize("method", METHODS)
def test_one_base_lies_beneath_all(bases: dict[str, ResolvedBase], tmp_path: Path, method: str) -> None:
    """No method writes to the weights that the others read."""
    folder = make_specialist(tmp_path / "s", bases["bert"], 1, method=method)
    frozen = FrozenBase(bases["bert"], "cpu")
    info = load_artifact(folder).info
    before = {name: tensor.clone() for name, tensor in frozen.model(info).state_dict().items()}
    with batcher({"s": folder}, bases["bert"]) as (served, entries):
        served._frozen._models.update(frozen._models)
        served.submit([(entries["s"], "good parcel")])[0].result(60)
        shared = {p.data_ptr() for p in frozen.model(info).parameters()}
        family = served.residents.find(entries["s"].content).family  # type: ignore[union-attr]
        n_shared = sum(p.data_ptr() in shared for p in family.model.parameters())
    assert n_shared >= 20, "the frozen part of its model should lie where the base lies"
    for key, tensor in frozen.model(info).state_dict().items():
        assert bool((tensor == before[key]).all()), key


def test_the_views_of_an_image_are_averaged(bases: dict[str, ResolvedBase], tmp_path: Path) -> None:
    folder = make_specialist(tmp_path / "s", bases["dinov2"], 1, head="both", n_averaged=3)
    inputs = inputs_of("dinov2")
    with batcher({"s": folder}, bases["dinov2"]) as (served, entries):
        got = np.array([f.result(60).logits for f in served.submit([(entries["s"], data) for data in inputs])])
    np.testing.assert_allclose(got, alone(folder, inputs, tmp_path), **tolerance("logits_same_weights", "float32"))


def test_specialists_that_cannot_share_a_pass_have_different_keys(
    bases: dict[str, ResolvedBase], tmp_path: Path
) -> None:
    base = bases["bert"]
    different: list[dict[str, Any]] = [
        {}, {"depth": 1}, {"head": "cls"}, {"target": "query"}, {"method": "bottleneck"},
        {"method": "bottleneck", "activation": "gelu"}, {"method": "full"},
    ]  # fmt: skip
    keys = set()
    for i, own in enumerate(different):
        artifact = load_artifact(make_specialist(tmp_path / f"s{i}", base, i, **own))
        keys.add(family_key(artifact.info, str(i)))
    assert len(keys) == len(different)
    assert resolve(str(base.path)).sha256 == base.sha256
