"""`honed export` on small real runs: every format is read back by its own program, and its README does what it says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export_runs import make_run
from honed.data.folds import FoldPlan
from honed.errors import OutputError, ParityError, UsageError
from honed.export import proof
from honed.pipeline import export as exporting
from honed.pipeline.export import ExportResult, export, recheck

TEXT = "the parcel came late"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def runs(place: Path) -> dict[str, Path]:
    kinds = (("lora", "mean"), ("lora", "native"), ("full", "mean"), ("full", "native"), ("bottleneck", "mean"))
    return {f"{method} {head}": make_run(place, method, head) for method, head in kinds}


@pytest.fixture(scope="module")
def exports(runs: dict[str, Path]) -> dict[tuple[str, str], ExportResult]:
    """One of each kind; tracing takes seconds, so only two graphs: a merged method's, and one that cannot be merged."""
    made = {}
    for name, run in runs.items():
        for to in ("peft", "merged"):
            if (to, name.split()[0]) not in (("peft", "full"), ("peft", "bottleneck"), ("merged", "bottleneck")):
                made[name, to] = export(run, to=to)
    for name in ("lora native", "bottleneck mean"):
        made[name, "onnx"] = export(runs[name], to="onnx", int8=name == "lora native")
    return made


def checks(facts: dict[str, Any]) -> dict[str, str]:
    return {row["check"]: row["outcome"] for row in facts["parity"]["checks"]}


def test_every_unharmed_export_is_what_was_measured(exports: dict[tuple[str, str], ExportResult]) -> None:
    assert len(exports) == 8
    for (name, to), result in exports.items():
        facts = result.parity
        assert facts["verdict"] == "PASS", (name, to)
        assert set(checks(facts).values()) == {"same"} and len(checks(facts)) == 6
        assert facts["rows"] == "holdout" and facts["n_rows"] == facts["n_available"] > 10
        assert facts["first_difference"] is None and facts["lost_tensors"] == []
        assert json.loads((result.folder / "parity.json").read_text()) == facts


def test_the_other_program_is_named(exports: dict[tuple[str, str], ExportResult]) -> None:
    for (_, to), result in exports.items():
        program = {"peft": "peft ", "merged": "transformers ", "onnx": "onnxruntime "}[to]
        assert result.parity["read_back_by"].startswith(program)


def test_int8_has_rows_of_its_own(exports: dict[tuple[str, str], ExportResult]) -> None:
    facts = exports["lora native", "onnx"].parity["int8"]
    assert facts["verdict"] in ("PASS", "INCONCLUSIVE") and facts["parity"]["is_quantised"]
    score = next(row for row in facts["parity"]["checks"] if row["check"] == "score")
    assert score["figures"]["low"] <= score["figures"]["value"] <= score["figures"]["high"]
    assert checks(facts)["logits"] == "reported"
    assert exports["bottleneck mean", "onnx"].parity["int8"] is None


@pytest.mark.parametrize(
    ("name", "to"),
    [(n, to) for n in ("lora mean", "lora native") for to in ("peft", "merged")]
    + [("lora native", "onnx"), ("bottleneck mean", "onnx")],
)
def test_the_readme_does_what_it_says(
    name: str, to: str, runs: dict[str, Path], exports: dict[tuple[str, str], ExportResult], monkeypatch: Any
) -> None:
    import honed

    folder = exports[name, to].folder
    text = (folder / "README.md").read_text().replace("a text to classify", TEXT)
    scope: dict[str, Any] = {}
    monkeypatch.chdir(folder)
    source = (
        text.split("```python\n")[1]
        .split("```")[0]
        .replace('json.load(open("config.json", encoding="utf-8"))', "config")
    )
    scope["config"] = json.loads(Path("config.json").read_text())
    exec(source, scope)  # noqa: S102 - the README's own lines are what is tested
    run = honed.load(runs[name])
    np.testing.assert_allclose(np.asarray(scope["probs"]), run.predict_proba([TEXT]), atol=1e-4)
    assert scope["label"] == run.predict([TEXT])[0]


def test_a_merged_model_is_the_bases_own_kind(exports: dict[tuple[str, str], ExportResult], place: Path) -> None:
    base = json.loads((place / "base" / "config.json").read_text())
    merged = json.loads((exports["lora native", "merged"].folder / "config.json").read_text())
    assert merged.get("use_cache", True) == base.get("use_cache", True)
    assert merged["architectures"] == ["BertForSequenceClassification"]
    assert merged["label2id"] == {name: int(j) for j, name in merged["id2label"].items()}
    files = {path.name for result in exports.values() for path in result.folder.iterdir()}
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl"))}


def test_a_graph_says_nothing_of_the_machine_it_was_made_on(exports: dict[tuple[str, str], ExportResult]) -> None:
    for name in ("lora native", "bottleneck mean"):
        content = (exports[name, "onnx"].folder / "model.onnx").read_bytes()
        assert b"site-packages" not in content and b".py" not in content


def test_a_harmed_graph_is_caught_and_its_layer_named(
    exports: dict[tuple[str, str], ExportResult], runs: dict[str, Path], tmp_path: Path
) -> None:
    import onnx

    folder = Path(shutil.copytree(exports["bottleneck mean", "onnx"].folder, tmp_path / "export"))
    path = folder / "model.onnx"
    graph = onnx.load(path)
    upper = [tensor for tensor in graph.graph.initializer if "encoder.layer.1" in tensor.name]
    harmed = next(tensor for tensor in upper if "key" not in tensor.name)  # attention does not see a bias of the keys
    values = onnx.numpy_helper.to_array(harmed).copy()
    values.flat[0] += 0.5
    harmed.CopyFrom(onnx.numpy_helper.from_array(values, harmed.name))
    onnx.save(graph, path)
    with pytest.raises(ParityError, match=r"encoder\.layer\.1:") as caught:
        recheck(runs["bottleneck mean"], to="onnx", out=folder)
    assert caught.value.facts["first_difference"] == "encoder.layer.1"
    assert [gap["layer"] for gap in caught.value.facts["layers"]] == [
        "embeddings", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2", "head"
    ]  # fmt: skip


def test_what_a_format_cannot_hold_is_refused_with_a_way_out(runs: dict[str, Path], tmp_path: Path) -> None:
    for name, to, way in (
        ("full mean", "peft", "--to merged"),
        ("bottleneck mean", "peft", "--to onnx"),
        ("bottleneck mean", "merged", "--to onnx"),
    ):
        with pytest.raises(UsageError, match="cannot be exported") as caught:
            export(runs[name], to=to, out=tmp_path / "export")
        assert way in caught.value.remedy
        assert not (tmp_path / "export").exists()


def test_nothing_is_overwritten(runs: dict[str, Path], exports: dict[tuple[str, str], ExportResult]) -> None:
    folder = exports["lora mean", "merged"].folder
    assert folder == runs["lora mean"] / "export" / "merged"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(OutputError, match="nothing was overwritten"):
        export(runs["lora mean"], to="merged")
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_an_export_never_opens_the_holdout(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(place, "lora", "mean", gate=False)
    ledger = run.parent / "holdout_ledger.jsonl"
    before = ledger.read_bytes()
    seen: list[Any] = []

    def spy(*arguments: Any) -> dict[str, Any]:
        seen.append(arguments[2])
        return proof.prove(*arguments)

    monkeypatch.setattr(exporting, "prove", spy)
    facts = export(run, to="merged").parity
    plan = FoldPlan.read(run / "folds.parquet")
    assert not set(seen[0].rows.example_id.tolist()) & set(plan.example_id[plan.holdout].tolist())
    assert seen[0].rows.label is None
    assert facts["rows"] == "development" and facts["n_rows"] == len(plan.development)
    assert facts["verdict"] == "INCONCLUSIVE" and checks(facts)["score"] == "not run"
    score = next(row for row in facts["parity"]["checks"] if row["check"] == "score")
    assert "the holdout is still shut" in score["sentence"]
    assert ledger.read_bytes() == before and not (run / "holdout.parquet").exists()


def test_rows_are_drawn_beyond_the_most(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MAX_ROWS", 7)
    facts = export(runs["full native"], to="merged", out=tmp_path / "export").parity
    assert facts["n_rows"] == 7 < facts["n_available"]


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT RUN: root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(runs: dict[str, Path], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="could not be written"):
        export(runs["full mean"], to="merged", out=tmp_path / "sub" / "export")
