"""`honed attention` as a user runs it: the planted truth, every kind of run, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import attention_runs as planted
import models as m
from honed.app.cli import run as cli
from honed.config import make_config
from honed.pipeline import attention as pipeline
from honed.pipeline.attention_options import AttentionOptions
from honed.pipeline.fit import fit
from image_files import encoded
from image_runs import make_run

N = 400


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attention")


@pytest.fixture(scope="module")
def base(place: Path) -> Path:
    return planted.save_base(place / "base")


@pytest.fixture(scope="module")
def learned(place: Path, base: Path) -> Path:
    return planted.fit_planted(planted.write_planted(place / "data", N), base, place / "run")


@pytest.fixture(scope="module")
def found(learned: Path) -> dict[str, Any]:
    return pipeline.attention(learned, AttentionOptions()).figures


@pytest.fixture(scope="module")
def coloured(place: Path) -> Path:
    return make_run(place / "coloured", "prefix", "both", gate=False)


@pytest.fixture(scope="module")
def texts(place: Path) -> Path:
    m.save_tiny_base(place / "text-base", "bert")
    words, label = m.toy_texts(60)
    rows = [f"{text},{'abc'[j]}" for text, j in zip(words, label, strict=True)]
    (place / "texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    config = make_config({
        "data": str(place / "texts.csv"), "base": str(place / "text-base"), "folds": 2, "epochs": 2, "gate": False,
        "max_tokens": 32, "out": str(place / "text-run"), "device": "cpu",
    })  # fmt: skip
    return fit(config).path


def corner(figures: dict[str, Any], drawn: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = figures["tables"][drawn]["overall"]
    return next(row for row in rows if row["region"] == "value 1")


@pytest.mark.slow
def test_the_region_table_finds_what_was_planted(found: dict[str, Any]) -> None:
    for drawn in ("relevance", "rollout"):
        row = corner(found, drawn)
        assert row["density"]["difference"]["low"] > 1
        assert row["corrected_p"] < 0.001
        assert row["pointing"]["specialist"]["value"] > 0.5


@pytest.mark.slow
def test_nothing_is_found_where_labels_say_nothing(place: Path, base: Path) -> None:
    data = planted.write_planted(place / "shuffled", N, shuffled=True)
    run = planted.fit_planted(data, base, place / "shuffled-run")
    figures = pipeline.attention(run, AttentionOptions()).figures
    for drawn in ("relevance", "rollout", "last"):
        row = corner(figures, drawn)
        assert row["corrected_p"] > 0.01
        assert abs(row["density"]["difference"]["value"]) < 0.5


def test_the_table_holds_every_row_model_map_and_head(learned: Path, found: dict[str, Any]) -> None:
    table = pq.read_table(learned / "attention" / "attention.parquet").to_pandas()
    assert found["n_rows"] == 100 and table.example_id.nunique() == 100
    assert set(table.model) == {"base", "specialist"}
    assert set(table["map"]) == {"rollout", "relevance", "last", "head"}
    assert set(table.region) == {"value 1", "background", "image border"}
    heads = table[table["map"] == "head"]
    assert set(zip(heads.layer, heads["head"], strict=True)) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    own = table[(table["map"] == "relevance") & (table.region == "value 1")]
    assert np.allclose(own.area, 1 / 9)
    for model in ("base", "specialist"):
        part = own[own.model == model]
        figure = corner(found, "relevance")["density"][model]["value"]
        assert part.share.sum() / part.area.sum() == pytest.approx(figure)  # recomputed from the table alone
    whole = table[(table["map"] == "rollout") & table.region.isin(["value 1", "background"])]
    assert np.allclose(whole.groupby(["example_id", "model"]).share.sum(), 1)


def test_the_holdout_is_not_looked_at(learned: Path, found: dict[str, Any]) -> None:
    del found
    looked = set(pq.read_table(learned / "attention" / "attention.parquet").column("example_id").to_pylist())
    folds = {row["example_id"]: row["fold"] for row in pq.read_table(learned / "folds.parquet").to_pylist()}
    assert min(folds[example] for example in looked) >= 0
    assert not (learned.parent / "holdout_ledger.jsonl").exists()


def test_a_map_is_judged_before_it_is_shown(learned: Path, found: dict[str, Any]) -> None:
    by_method = {verdict["method"]: verdict for verdict in found["faithfulness"]}
    assert next(iter(by_method)) == "relevance"
    assert {"rollout", "last", "relevance of the base", "integrated gradients"} <= set(by_method)
    assert by_method["rollout"]["deletion"]["difference"]["low"] > 0  # the answer falls sooner than by chance
    assert by_method["rollout"]["insertion"]["difference"]["low"] > 0
    assert by_method["rollout"]["curves"]["insertion"][1] > 0.95  # the corner alone is enough
    assert not by_method["relevance"]["is_withheld"]
    folder = learned / "attention"
    assert len(found["overlays"]) == 24
    for row in found["overlays"]:
        with Image.open(folder / row["file"]) as image:
            assert image.format == "PNG"
    page = (folder / "attention.html").read_text()
    assert "value 1" in page and "<script" not in page
    assert "attention/attention.html" in (learned / "report.html").read_text()


def test_a_map_that_survives_random_weights_is_not_shown(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import nullcontext

    from honed.pipeline import attention_checks

    monkeypatch.setattr(attention_checks, "redrawn", lambda *_: nullcontext())  # weights that stay as they are
    figures = pipeline.attention(learned, AttentionOptions(rows=12), str(tmp_path / "new")).figures
    assert figures["is_withheld"] and figures["overlays"] == []
    assert not (tmp_path / "new" / "overlays").exists()
    assert "explains nothing" in (tmp_path / "new" / "attention.html").read_text()


def test_without_captum_it_is_said(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "captum", None)
    figures = pipeline.attention(learned, AttentionOptions(rows=4), str(tmp_path / "new")).figures
    assert figures["not_run"]["Integrated gradients"].startswith("not run, because")
    assert "honed[attention]" in (tmp_path / "new" / "attention.html").read_text()


def test_a_single_row_has_maps_and_no_statistics(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(["attention", str(learned), "--rows", "1", "--out", str(tmp_path / "new")]) == 0
    assert "not run" in capsys.readouterr().out
    assert len(list((tmp_path / "new" / "overlays").iterdir())) == 1


def test_new_images_get_overlays(learned: Path, found: dict[str, Any], place: Path, tmp_path: Path) -> None:
    del found
    images = place / "data" / "images"
    one, folder = tmp_path / "one", tmp_path / "folder"
    assert cli(["attention", str(learned), str(images / "007.png"), "--out", str(one)]) == 0
    assert [path.name for path in (one / "overlays").iterdir()] == ["row-1.png"]
    (tmp_path / "some").mkdir()
    for name in ("a.png", "b.png", "broken.png"):
        (tmp_path / "some" / name).write_bytes((images / "001.png").read_bytes() if name != "broken.png" else b"junk")
    assert cli(["attention", str(learned), str(tmp_path / "some"), "--out", str(folder), "--map", "rollout"]) == 0
    figures = json.loads((folder / "attention.json").read_text())
    assert figures["n_rows"] == 2 and figures["tables"] == {} and figures["map"] == "rollout"
    table = tmp_path / "new.csv"
    table.write_text(f"file_name\n{images / '003.png'}\n")
    assert cli(["attention", str(learned), str(table), "--out", str(tmp_path / "table")]) == 0


def test_a_prefix_and_images_without_masks(coloured: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli(["attention", str(coloured), "--rows", "8", "--json", "--out", str(tmp_path / "new")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [row["region"] for row in figures["tables"]["relevance"]["overall"]] == ["image border"]
    assert max(figures["prefix_share"]) > 0.2


def test_texts_get_tokens(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["attention", str(texts), "--rows", "10"]) == 0
    assert "tells of every token" in " ".join(capsys.readouterr().out.split())
    table = pq.read_table(texts / "attention" / "attention.parquet").to_pandas()
    assert set(table.columns) >= {"example_id", "model", "map", "position", "token", "share", "entropy"}
    assert {"good", "bad", "late"} & set(table.token)
    assert np.allclose(table.groupby(["example_id", "model", "map"]).share.sum(), 1)
    assert "good" in (texts / "attention" / "attention.html").read_text()
    new = texts.parent / "new.csv"
    new.write_text("text\nthe parcel came late\n")
    assert cli(["attention", str(texts), str(new), "--out", str(texts.parent / "new-texts")]) == 0


def broken(place: Path, name: str) -> Path:
    """A run whose masks were spoilt after it was made."""
    import shutil

    data = place / name
    shutil.copytree(place / "data", data)
    run = place / f"{name}-run"
    shutil.copytree(place / "run", run)
    config = (run / "config.yaml").read_text().replace(str(place / "data"), str(data))
    (run / "config.yaml").write_text(config)
    return run


def test_masks_that_do_not_fit_are_told(
    learned: Path, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    del learned
    run = broken(place, "spoilt")
    mask = place / "spoilt" / "mask.png"
    mask.write_bytes(encoded(np.zeros((7, 7), dtype=np.uint8)))
    assert cli(["attention", str(run), "--rows", "4"]) == 3
    told = capsys.readouterr().err
    assert "None of the 4 masks of column 'mask'" in told and "7" in told and "42" in told
    mask.unlink()
    assert cli(["attention", str(run), "--rows", "4"]) == 3
    assert "no such file" in capsys.readouterr().err
    assert not (run / "attention.partial").exists()
    assert cli(["attention", str(run), "--rows", "4", "--mask", ""]) == 0


def test_a_row_without_a_mask_is_left_out_and_told(
    learned: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del learned
    run = broken(place, "partly")
    table = place / "partly" / "metadata.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([rows[0], *(row.replace("mask.png", "" if i % 2 else "mask.png")
                                           for i, row in enumerate(rows[1:]))]) + "\n")  # fmt: skip
    assert cli(["attention", str(run), "--rows", "12", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    n_faults = len(figures["mask_faults"])
    assert 0 < n_faults < 12
    assert corner(figures, "relevance")["n_empty"] == n_faults


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--mask", "masks"], 2, "Did you mean 'mask'"),
        (["--map", "roll"], 2, "--map roll: it is none of rollout, relevance, last"),
        (["--regions", "brain"], 2, "--regions brain"),
        (["--rows", "0"], 2, "--rows must be at least 1"),
        (["--regions", "chest", "--rows", "4", "--mask", "label"], 2, "no such column"),
        (["no_such.png"], 3, "no such file"),
    ],
)
def test_what_does_not_fit_is_told(
    learned: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "400")
    assert cli(["attention", str(learned), *arguments]) == code
    assert message in capsys.readouterr().err


def test_other_folders_and_texts_with_masks_are_refused(
    texts: Path, learned: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "400")
    assert cli(["attention", str(tmp_path)]) == 3
    assert "is not a run folder" in capsys.readouterr().err
    assert cli(["attention", str(texts), "--mask", "mask"]) == 2
    assert "this run classifies texts" in capsys.readouterr().err
    image = str(place / "data" / "images" / "000.png")
    assert cli(["attention", str(texts), image]) == 2
    assert "this run classifies texts" in capsys.readouterr().err
    assert cli(["attention", str(learned), image, "--mask", "mask"]) == 2
    assert "together with new inputs" in capsys.readouterr().err
    assert cli(["attention", str(learned), image, "--regions", "chest"]) == 2
    assert "--regions chest was given together with new inputs" in capsys.readouterr().err
    assert cli(["attention", str(learned), "--mask", "", "--regions", "chest"]) == 2
    assert "needs masks of lungs and heart" in capsys.readouterr().err
    assert cli(["attention", str(learned), "--out", str(place / "data")]) == 2
    assert "is not empty" in capsys.readouterr().err
