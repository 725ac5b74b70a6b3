"""honed from Python."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import honed
from honed.api import Settings
from honed.app.config_flags import all_flags
from honed.config import Config
from honed.errors import ConfigError, HonedError, RunFolderError, UsageError
from tolerances import tolerance

REPO = Path(__file__).resolve().parents[2]


def test_the_promised_names_are_there() -> None:
    promised = {"Audit", "Comparison", "HonedClassifier", "Run", "__version__", "audit", "compare", "fit", "load"}
    assert set(honed.__all__) == promised == set(dir(honed))
    for name in honed.__all__:
        assert getattr(honed, name) is not None
    assert f'version = "{honed.__version__}"' in (REPO / "pyproject.toml").read_text()
    with pytest.raises(AttributeError, match="nonsense"):
        honed.nonsense  # noqa: B018


def test_settings_and_flags_are_the_fields_of_config() -> None:
    fields = set(Config.model_fields) - {"data"}
    assert set(typing.get_type_hints(Settings)) == fields
    assert sorted(all_flags()) == sorted(fields), "each field stands in one help panel"


def test_load_predicts_what_the_gate_judged(judged_run: Path) -> None:
    run = honed.load(judged_run)
    assert run.path == judged_run and run.report.exists() and run.verdict in repr(run)
    assert run.label_names == ("fruit", "vehicle", "weather") and run.reasons
    holdout = pd.read_parquet(judged_run / "holdout.parquet")
    texts = pd.read_parquet(judged_run / "texts.parquet").set_index("example_id")["text"]
    probs = run.predict_proba(texts.loc[holdout["example_id"]].tolist())
    logits = holdout.filter(like="logit_").to_numpy()
    temperature = run.metrics["calibration"]["temperature"]
    np.testing.assert_allclose(
        probs, softmax(logits / temperature, axis=1), **tolerance("logits_same_weights", "float32")
    )
    assert run.predict(["rain, hail and fog"]) == ["weather"] and run.predict([]) == []


def test_labels_are_a_list_the_worst_first(judged_run: Path) -> None:
    labels = honed.load(judged_run).labels
    kept = pd.read_parquet(judged_run / "labels.parquet")
    assert [row["example_id"] for row in labels] == kept["example_id"].tolist()
    assert list(pd.DataFrame(labels)["quality"]) == sorted(row["quality"] for row in labels)
    assert labels[0]["given"] != labels[0]["suggested"] and labels[0]["text"] and labels[0]["why"]


def test_fit(easy_csv: Path, minilm: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = honed.fit(
        easy_csv, {"epochs": 9, "depth": 1}, epochs=1, folds=2, max_tokens=24, gate=False, out=tmp_path / "run"
    )
    assert (run.path, run.verdict, run.metrics["holdout"]) == (tmp_path / "run", "INCONCLUSIVE", None)
    assert capsys.readouterr() == ("", ""), "silent unless progress=True"
    assert run.gate() in ("PASS", "INCONCLUSIVE", "FAIL") and run.metrics["holdout"]["accuracy"]["n"] > 0


def test_mistakes_are_told(judged_run: Path, easy_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("did you mean epochs?")):
        honed.fit(easy_csv, epoch=3)  # type: ignore[call-arg]
    with pytest.raises(RunFolderError, match="no run folder"):
        honed.load(tmp_path / "none")
    with pytest.raises(RunFolderError, match=re.escape("config.yaml")):
        honed.load(tmp_path)
    run = honed.load(judged_run)
    with pytest.raises(UsageError, match=re.escape("[text]")):
        run.predict("rain")
    with pytest.raises(HonedError, match="Element 1"):
        run.predict(["rain", None])  # type: ignore[list-item]
