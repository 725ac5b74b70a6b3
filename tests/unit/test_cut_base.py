"""A base cut off after its lowest layers: what it computes, what its configuration says, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import honed
import models as m
from honed.artifact import load_artifact
from honed.bases import load_backbone, resolve, shortened
from honed.config import Config, make_config, read_config
from honed.errors import UsageError
from honed.pipeline.export import export
from honed.pipeline.gate import reopen_data
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.settle import with_layers, with_task
from honed.planning.shapes import read_base_shape
from honed.planning.shapes import shortened as shortened_shape
from honed.tasks.base import get_task
from image_runs import make_run, save_tiny_image_base, write_coloured
from tolerances import tolerance

FINAL_NORM = {"bert": None, "llama": "norm", "gemma3": "norm", "modernbert": "final_norm", "dinov2": "layernorm"}


def inputs_of(name: str) -> dict[str, Any]:
    torch.manual_seed(1)
    if name == "dinov2":
        return {"pixel_values": torch.randn(2, 3, 28, 28, dtype=torch.float64)}
    ids = torch.randint(3, m.VOCABULARY, (2, 11))
    mask = torch.ones_like(ids)
    mask[1, -4:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("name", m.TINY_MODELS)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_it_gives_what_the_whole_model_has_after_that_layer(name: str, n_layers: int, tmp_path: Path) -> None:
    m.tiny_model(name).save_pretrained(tmp_path)
    base = resolve(str(tmp_path))
    whole: Any = load_backbone(base, dtype="float64")
    cut = shortened(base, n_layers)
    assert (cut.n_layers, cut.sha256) == (n_layers, base.sha256), "the hash stays that of the whole base"
    model: Any = load_backbone(cut, dtype="float64")
    batch = inputs_of(name)
    with torch.no_grad():
        expected = whole(**batch, output_hidden_states=True).hidden_states[n_layers]
        norm = FINAL_NORM[name]
        expected = expected if norm is None else getattr(whole, norm)(expected)
        found = model(**batch).last_hidden_state
    keep = batch.get("attention_mask", torch.ones(found.shape[:2])).bool()
    torch.testing.assert_close(found[keep], expected[keep], **tolerance("logits_same_weights", "float64"))
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize("name", m.TINY_MODELS)
def test_its_configuration_can_be_saved_and_read_back(name: str, tmp_path: Path) -> None:
    """DINOv2 names the layer that it gives, Gemma the kind of each layer: both must be those of the cut model."""
    import transformers

    m.tiny_model(name).save_pretrained(tmp_path / "whole")
    model: Any = load_backbone(shortened(resolve(str(tmp_path / "whole")), 2))
    model.save_pretrained(tmp_path / "cut")
    back = transformers.AutoModel.from_pretrained(tmp_path / "cut")
    for one in (back.config, shortened_shape(read_base_shape(str(tmp_path / "whole")), 2).config):
        assert one.num_hidden_layers == 2
        assert len(getattr(one, "layer_types", None) or [0, 0]) == 2
        assert (getattr(one, "out_features", None) or ["stage2"]) == ["stage2"]
        one.__class__.from_dict(one.to_dict())  # as `honed plan` copies it
    assert all(torch.equal(back.state_dict()[key], value) for key, value in model.state_dict().items())


def test_all_layers_are_the_base_itself(tmp_path: Path) -> None:
    base = save_tiny_image_base(tmp_path)
    assert shortened(base, "all") == base == shortened(base, base.n_layers)


def test_more_layers_than_it_has_are_refused(tmp_path: Path) -> None:
    base = save_tiny_image_base(tmp_path)
    for cut, whole in ((shortened, base), (shortened_shape, read_base_shape(str(tmp_path)))):
        with pytest.raises(UsageError, match=r"--layers 99 is more than base .* has"):
            cut(whole, 99)  # type: ignore[operator]


def test_auto_is_half_for_images_and_all_for_texts() -> None:
    def settled(task: str, **settings: Any) -> Any:
        return with_layers(with_task(Config(data="x", **settings), task), 12).layers

    assert (settled("image_classification"), settled("text_classification")) == (6, "all")
    assert (settled("image_classification", layers=3), settled("image_classification", layers="all")) == (3, "all")


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("cut"), "lora", "both", layers=2, depth=1)


def test_its_artifact_is_read_back_as_it_was(cut_run: Path) -> None:
    info = load_artifact(cut_run / "adapter").info
    assert (info.n_layers, info.depth) == (2, 1)
    folds = pq.read_table(cut_run / "holdout.parquet").to_pydict()
    run = RunFolder(cut_run)
    dataset, plan = reopen_data(run, make_config(read_config(run.config)))
    where = {str(dataset.example_id[i]): dataset.inputs[i].path for i in plan.holdout.tolist()}
    probs = honed.load(cut_run).predict_proba([str(where[example]) for example in folds["example_id"]])
    measured = np.column_stack([folds[f"logit_{j}"] for j in range(3)])
    scaled = torch.softmax(torch.from_numpy(measured) / info.temperature, 1).numpy()
    np.testing.assert_allclose(probs, scaled, **tolerance("logits_same_weights", "float32"))


@pytest.mark.parametrize("to", ["peft", "merged"])
def test_its_export_gives_the_same_answers_in_the_other_program(cut_run: Path, to: str, tmp_path: Path) -> None:
    export(cut_run, to=to, out=tmp_path / to)  # raises if it is not what was measured
    assert "the lowest 2 layers of" in (tmp_path / to / "README.md").read_text()


def test_settings_of_the_task_yield_to_what_is_named() -> None:
    plain = Config(data="x")
    images = with_task(plain, "image_classification")
    own = get_task("image_classification").defaults
    assert own and {name: getattr(images, name) for name in own} == dict(own)
    assert any(value != getattr(plain, name) for name, value in own.items())
    texts = with_task(plain, "text_classification")
    assert (texts.epochs, texts.batch_size) == (plain.epochs, plain.batch_size)
    named = with_task(Config(data="x", epochs=plain.epochs, head_learning_rate=0.5), "image_classification")
    assert (named.epochs, named.batch_size, named.head_learning_rate) == (plain.epochs, own["batch_size"], 0.5), (
        "also if named as it is"
    )


def test_the_resolved_configuration_gives_the_same_run_again(tmp_path: Path) -> None:
    base = save_tiny_image_base(tmp_path / "base")
    data = write_coloured(tmp_path / "data", 45)
    named: dict[str, Any] = {"base": str(base.path), "image_size": 28, "folds": 2, "epochs": 2, "device": "cpu"}
    first = honed.fit(data, **named, out=tmp_path / "first")
    written = make_config(read_config(first.path / "config.yaml"))
    own = get_task("image_classification").defaults
    assert (written.layers, written.epochs) == (2, 2), "half of 3 layers, and what was named"
    assert (written.batch_size, written.views) == (own["batch_size"], own["views"])
    again = honed.fit(data, written.model_dump(), out=tmp_path / "again")
    for name in ("oof.parquet", "adapter/adapter_model.safetensors", "adapter/head.safetensors"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
