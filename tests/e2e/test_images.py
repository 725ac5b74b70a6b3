"""Images from end to end: fit, gate, predict, export, compare, with files that are wrong among them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import honed
from honed.artifact import load_artifact
from honed.errors import UsageError
from honed.pipeline.export import export
from image_files import dicom, encoded, picture
from image_runs import LABELS, coloured, make_run, save_tiny_image_base, write_coloured


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def runs(place: Path) -> dict[str, Path]:
    """All four families of methods, and three heads."""
    kinds = (("lora", "both"), ("lora", "native"), ("full", "mean"), ("bottleneck", "cls"), ("prefix", "both"))
    return {f"{method} {head}": make_run(place, method, head) for method, head in kinds}


def test_every_family_learns_what_can_be_seen(runs: dict[str, Path]) -> None:
    for name, path in runs.items():
        run = honed.load(path)
        assert run.metrics["out_of_fold"]["accuracy"]["value"] > 0.5, name
        assert run.metrics["holdout"]["accuracy"]["value"] is not None
        assert set(run.metrics["baselines"]) == {"majority", "linear_probe", "pixels_logreg"}


def test_the_run_folder_says_how_images_are_read(runs: dict[str, Path]) -> None:
    path = runs["lora both"]
    config = yaml.safe_load((path / "config.yaml").read_text())
    assert (config["task"], config["head"], config["image_size"]) == ("image_classification", "both", 28)
    info = load_artifact(path / "adapter").info
    assert info.reading == {
        "size": 28, "fit": "letterbox", "mean": [0.5] * 3, "std": [0.5] * 3, "resample": 3, "n_special_tokens": 1,
        "n_views": 1, "augment": [], "n_averaged": 1,
    }  # fmt: skip
    assert info.tokenizer_sha256 == ""
    report = (path / "report.html").read_text()
    assert "PCA + logistic regression on pixels" in report
    assert "TF-IDF + logistic regression</t" not in report


def test_the_report_shows_the_images_whose_labels_look_wrong(runs: dict[str, Path], capsys: Any) -> None:
    from honed.app.cli import run as cli

    path = runs["lora both"]
    page = (path / "report.html").read_text()
    section = page[page.index('<section id="labels"') :].split("</section>")[0]
    assert section.count('<img class="thumb" src="data:image/jpeg;base64,') == section.count("<li>") > 5
    kept = set(pq.read_table(path / "thumbnails.parquet").column("example_id").to_pylist())
    assert kept and not kept & set(pq.read_table(path / "holdout.parquet").column("example_id").to_pylist())
    assert cli(["labels", str(path), "--top", "2"]) == 0
    told = capsys.readouterr().out
    assert "Image" in told and "images/0" in told and "report.html" in told


def test_predictions_are_those_of_the_holdout(runs: dict[str, Path], place: Path, tmp_path: Path) -> None:
    from honed.app.cli import run as cli

    path, output = runs["lora both"], tmp_path / "answers.csv"
    assert cli(["predict", str(path), str(place / "data"), "--output", str(output)]) == 0
    with output.open() as file:
        rows = {row["example_id"]: row for row in csv.DictReader(file)}
    holdout = pq.read_table(path / "holdout.parquet").to_pylist()
    assert len(rows) == 60
    for row in holdout:
        logits = [row[f"logit_{j}"] for j in range(3)]
        assert rows[row["example_id"]]["prediction"] == LABELS[int(np.argmax(logits))]


def test_an_image_that_cannot_be_read_has_no_prediction_and_the_others_do(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from honed.app.cli import run as cli

    folder = write_coloured(tmp_path / "new", 3, broken_png=b"junk")
    output = tmp_path / "answers.parquet"
    assert cli(["predict", str(runs["lora both"]), str(folder), "--output", str(output)]) == 0
    table = pq.read_table(output).to_pylist()
    assert [row["prediction"] is None for row in table] == [False, False, False, True]
    assert np.isnan(table[3]["prob_0"]) and abs(sum(table[0][f"prob_{j}"] for j in range(3)) - 1) < 1e-9
    assert "Row 4" in capsys.readouterr().err


def test_from_python_paths_are_predicted(runs: dict[str, Path], place: Path) -> None:
    run = honed.load(runs["lora both"])
    paths = [str(place / "data" / name) for name in list(coloured(60))[:6]]
    assert run.predict_proba(paths).shape == (6, 3)
    assert set(run.predict(paths)) <= set(LABELS)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("lora both", "peft"), ("lora native", "peft"), ("lora both", "merged"), ("full mean", "merged"),
        ("lora native", "onnx"), ("prefix both", "onnx"),
    ],
)  # fmt: skip
def test_an_export_is_what_was_measured_and_its_readme_works(
    name: str, to: str, runs: dict[str, Path], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = export(runs[name], to=to, out=tmp_path / "export")
    outcomes = {row["check"]: row["outcome"] for row in result.parity["parity"]["checks"]}
    assert result.parity["verdict"] == "PASS" and set(outcomes.values()) == {"same"} and len(outcomes) == 6
    picked = place / "data" / "images" / "005.png"
    source = (result.folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    monkeypatch.chdir(result.folder)
    exec(source.replace("an_image.png", str(picked)), scope)  # noqa: S102 - the README's own lines are tested
    expected = honed.load(runs[name]).predict_proba([str(picked)])
    np.testing.assert_allclose(np.asarray(scope["probs"]), expected, atol=1e-4)


def test_bad_files_are_rows_and_the_run_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = write_coloured(
        tmp_path / "data", 45, zero_png=b"", cut_png=encoded(picture(90, 64))[:90], dot_png=encoded(picture(91, 1)),
        wrong_png=encoded(picture(92), "JPEG"), deep_png=encoded(rng.integers(0, 4096, (20, 20)).astype(np.uint16)),
        scan_dcm=dicom(rng.integers(0, 4096, (20, 20)).astype(np.uint16), patient="P1"),
        hostile_dcm=b"\0" * 128 + b"DICM",
    )  # fmt: skip
    base = save_tiny_image_base(tmp_path / "base")
    run = honed.fit(
        folder, base=str(base.path), image_size=28, folds=2, epochs=1, depth=1, out=tmp_path / "run", gate=False
    )
    issues = pq.read_table(run.path / "issues.parquet").to_pylist()
    unreadable = [row["row"] for row in issues if row["check"] == "unreadable_image"]
    assert unreadable == [45, 46, 51]
    assert json.loads((run.path / "dataset.json").read_text())["n_used"] == 49
    assert {"tiny_image", "mislabelled_format"} <= {row["check"] for row in issues}
    for file in run.path.rglob("*"):
        assert not file.is_file() or b'P1"' not in file.read_bytes() or file.suffix == ".bin"


def test_an_image_that_changes_under_the_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from honed.pipeline import fit as fitting

    folder, base = write_coloured(tmp_path / "data", 45), save_tiny_image_base(tmp_path / "base")
    real = fitting.make_plan

    def swap(*arguments: Any) -> Any:
        (folder / "images" / "007.png").write_bytes(encoded(picture(999)))
        return real(*arguments)

    monkeypatch.setattr(fitting, "make_plan", swap)
    with pytest.raises(honed.errors.DataError, match=r"007\.png.*changed while"):
        honed.fit(folder, base=str(base.path), image_size=28, folds=2, epochs=1, depth=1, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 30}, r"--image-size 30 is no multiple.*28 or 42"),
        ({"head": "native", "task": "text_classification"}, "--task text_classification does not fit"),
        ({"base": "minilm"}, "does not|patches"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    folder, base = write_coloured(tmp_path / "data", 45), save_tiny_image_base(tmp_path / "base")
    with pytest.raises(UsageError, match=message):
        honed.fit(folder, {"base": str(base.path), "folds": 2, "epochs": 1, "out": tmp_path / "run"} | settings)
    assert not (tmp_path / "run").exists()


def test_a_head_for_images_does_not_fit_texts(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"message number {i},{'ab'[i % 2]}\n" for i in range(40)))
    with pytest.raises(UsageError, match="--head both does not fit text classification"):
        honed.fit(file, head="both", out=tmp_path / "run")


def test_methods_are_compared_on_images(place: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    del runs  # they made the data
    found = honed.compare(
        place / "data", ["lora", "prefix"], base=str(place / "base"), image_size=28, folds=2, epochs=1, depth=1,
        device="cpu", out=tmp_path / "compared", gate=False,
    )  # fmt: skip
    assert found.recommended in ("lora", "prefix")
    names = {row["name"] for row in found.figures["entries"]}
    assert {"lora", "prefix", "pixels_logreg", "linear_probe"} <= names
