"""`--layers`, `--image-size` and `--head measured`: what is measured, what is chosen, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import honed
import models as m
from honed.app.cli import run as cli
from honed.bases import resolve, shortened
from honed.config import make_config, read_config
from honed.data.folds import FoldPlan
from honed.errors import ConfigError, RunFolderError, UsageError
from honed.events import Emitter
from honed.evidence.report_choice import choice_view
from honed.pipeline.assembly import make_stack
from honed.pipeline.features import base_features, layer_features
from honed.pipeline.prepare import load
from honed.pipeline.settle import settle
from image_runs import make_run, save_tiny_image_base, write_coloured
from tolerances import tolerance

ALL = {"layers": "measured", "head": "measured", "image_size": "measured"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> honed.api.Run:
    folder = tmp_path_factory.mktemp("measured")
    return honed.load(make_run(folder, "lora", "measured", depth=1, layers="measured", image_size="measured"))


def test_the_probe_of_the_run_has_the_loss_of_the_candidate_that_was_chosen(run: honed.api.Run) -> None:
    table = json.loads((run.path / "measured.json").read_text())
    chosen = [row for row in table["candidates"] if row["is_chosen"]]
    config = read_config(run.path / "config.yaml")
    assert len(chosen) == 1
    assert {name: config[name] for name in ALL} == {name: chosen[0][name] for name in ALL}
    probe = run.metrics["baselines"]["linear_probe"]["log_loss"]["value"]
    assert chosen[0]["log_loss"] == pytest.approx(probe, **approx()), "the features of the cut base, by the same probes"
    assert table["n_rows"] == len(FoldPlan.read(run.path / "folds.parquet").development), "no locked row"


def approx() -> dict[str, float]:
    close = tolerance("logits_same_weights", "float32")
    return {"rel": 10 * close["rtol"], "abs": 10 * close["atol"]}


def test_the_grid_and_the_order_of_cost(run: honed.api.Run) -> None:
    rows = json.loads((run.path / "measured.json").read_text())["candidates"]
    assert {row["layers"] for row in rows} == {1, 2, 3}
    assert {row["head"] for row in rows} == {"mean", "cls", "both"}
    sizes = {row["image_size"] for row in rows}
    assert len(rows) == 9 * len(sizes) and all(size % 14 == 0 for size in sizes)
    for row in rows:
        assert row["cost"] == row["layers"] * ((row["image_size"] // 14) ** 2 + 1)


def test_it_is_said_on_the_page_and_in_the_notes(run: honed.api.Run) -> None:
    page = run.report.read_text()
    assert "Chosen by measurement" in page and "the locked rows have not" in page
    notes = run._folder.read_json(run._folder.dataset)["notes"]
    assert any(note.startswith("Chosen by measurement: --layers") for note in notes)
    assert "measure" in run.metrics["timings_s"]


def test_the_resolved_configuration_measures_nothing_again(run: honed.api.Run, tmp_path: Path) -> None:
    config = read_config(run.path / "config.yaml")
    again = honed.fit(config["data"], {**config, "out": tmp_path / "again"})
    assert not (again.path / "measured.json").exists()
    assert again.metrics["out_of_fold"] == run.metrics["out_of_fold"]
    assert "Chosen by measurement" not in again.report.read_text()


def test_a_damaged_table_is_told_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text('{"fields": ["layers"], "candidates": [{}]}')
    with pytest.raises(RunFolderError, match=r"measured.json cannot be used: KeyError") as refused:
        choice_view(tmp_path)
    assert "Remove it" in refused.value.remedy
    (tmp_path / "measured.json").unlink()
    assert choice_view(tmp_path) is None


@pytest.mark.parametrize("name", ["dinov2", "bert", "modernbert"])
def test_features_of_every_layer_are_those_of_the_cut_base(tmp_path: Path, name: str) -> None:
    if name == "dinov2":
        base, data = save_tiny_image_base(tmp_path / "base"), str(write_coloured(tmp_path / "data", 12))
        heads = ("mean", "cls", "both")
    else:
        base, data, heads = m.save_tiny_base(tmp_path / "base", name), str(tmp_path / "texts.csv"), ("mean", "cls")
        texts, label = m.toy_texts(12)
        lines = [f"{text},{'abc'[j]}" for text, j in zip(texts, label.tolist(), strict=True)]
        Path(data).write_text("\n".join(["text,label", *lines]))
    config = make_config({"data": data, "base": str(base.path), "image_size": 28, "max_tokens": 64, "device": "cpu"})
    loaded = load(config)
    config, base = settle(config, loaded)
    examples, numbers = loaded.dataset.inputs, range(1, base.n_layers + 1)
    found, _ = layer_features(config.model_copy(update={"views": 1}), base, numbers, heads, examples, Emitter())
    assert found.keys() == {(number, head) for number in numbers for head in heads}
    for (number, head), values in found.items():
        own = config.model_copy(update={"layers": number, "head": head, "views": 1})
        stack = make_stack(base, own, loaded.dataset.label_names, 1)
        assert len(stack.layers) == number == shortened(base, number).n_layers
        expected = base_features(stack, examples, Emitter())
        np.testing.assert_allclose(values, expected, **tolerance("logits_same_weights", "float32"))
    assert not np.allclose(found[1, "mean"], found[base.n_layers, "mean"]), "layers differ"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": "measured", "trials": "layers=1,2"}, "--layers measured chooses it"),
        ({"trials": "layers=measured,2"}, "layers: measured stands for a value"),
        ({"trials": "image_size=auto,28"}, "image_size: auto stands for a value"),
        ({"trials": "learning_rate=auto,1e-3"}, "learning_rate: auto stands for a value"),
    ],
)
def test_a_setting_that_two_would_choose_is_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make_run(tmp_path, "lora", "both", **settings)
    assert said in refused.value.problem


def test_depth_may_be_more_than_auto_would_leave(tmp_path: Path) -> None:
    path = make_run(tmp_path, "lora", "both", layers="measured", depth=3)
    assert {row["layers"] for row in json.loads((path / "measured.json").read_text())["candidates"]} == {3}


def test_texts_have_no_size_and_a_plan_no_rows_to_measure_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = m.save_tiny_base(tmp_path / "base", "bert")
    texts, label = m.toy_texts(60)
    data = tmp_path / "texts.csv"
    lines = [f"{text},{'abc'[j]}" for text, j in zip(texts, label.tolist(), strict=True)]
    data.write_text("\n".join(["text,label", *lines]))
    shared: dict[str, Any] = {"base": str(base.path), "folds": 2, "epochs": 1, "max_tokens": 64, "gate": False}
    with pytest.raises(UsageError, match="--image-size measured is for images"):
        honed.fit(data, {**shared, "image_size": "measured", "out": tmp_path / "no"})
    assert not (tmp_path / "no").exists()
    found = honed.fit(data, {**shared, "layers": "measured", "head": "measured", "out": tmp_path / "run"})
    rows = json.loads((found.path / "measured.json").read_text())["candidates"]
    assert {row["head"] for row in rows} == {"mean", "cls"} and {row["layers"] for row in rows} == {1, 2, 3}
    assert (
        cli(["plan", str(data), "--base", str(base.path), "--layers", "measured", "--max-tokens", "64"])
        == UsageError.exit_code
    )
    assert "chosen by `honed fit` alone" in capsys.readouterr().err
    assert resolve(str(base.path)).n_layers == 3
