"""What the studio's playground and its comparison compute, of a real run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from honed.errors import EvidenceError, UsageError
from honed.oof import Predictions
from honed.pipeline.playground import LONGEST_TEXT, Playground
from honed.pipeline.run_folder import RunFolder
from honed.pipeline.side_by_side import side_by_side
from honed.serving.engine import load_specialist
from tolerances import TOLERANCES

TEXT = "snow, hail and fog: item 5 of 7"


def test_the_specialist_answers_as_it_predicts_and_the_base_does_not(judged_run: Path) -> None:
    playground = Playground(judged_run, device="cpu")
    answer = playground.ask_text(TEXT)
    expected = load_specialist(judged_run / "adapter", device="cpu").probabilities([TEXT])[0]
    allowed = TOLERANCES["logits_same_weights", "float32"]
    np.testing.assert_allclose(answer.specialist, expected, rtol=allowed.rtol, atol=allowed.atol)
    assert answer.base is not None and not np.allclose(answer.base, expected, atol=0.01)
    assert np.allclose([answer.base.sum(), answer.specialist.sum()], 1)
    assert answer.tokens is not None and [len(own) for own in answer.tokens] == [len(answer.tokens[0])] * 2
    words = [token.text for token in answer.tokens[1]]
    assert words[1] == "snow" and max(token.step for own in answer.tokens for token in own) == 8
    again = playground.ask_text(TEXT)
    assert np.array_equal(again.specialist, answer.specialist), "asking changes nothing"
    for text in ("", " \n", "x" * (LONGEST_TEXT + 1)):
        with pytest.raises(UsageError):
            playground.ask_text(text)
    with pytest.raises(UsageError, match="classifies texts"):
        playground.ask_image(b"GIF89a")


def test_without_its_data_the_specialist_answers_alone_and_says_why(copied_run: Path) -> None:
    config = yaml.safe_load((copied_run / "config.yaml").read_text())
    (copied_run / "config.yaml").write_text(yaml.safe_dump(config | {"data": str(copied_run / "gone.csv")}))
    answer = Playground(copied_run, device="cpu").ask_text(TEXT)
    assert answer.base is None and "gone.csv" in answer.base_not_run and answer.specialist.argmax() == 2
    assert answer.tokens is not None


def test_a_map_that_survives_random_weights_is_withheld(copied_run: Path) -> None:
    (copied_run / "attention").mkdir()
    verdict = {"method": "relevance", "is_withheld": True, "sentence": "It survives."}
    (copied_run / "attention" / "attention.json").write_text(json.dumps({"faithfulness": [verdict]}))
    answer = Playground(copied_run, device="cpu").ask_text(TEXT)
    assert answer.tokens is None and "survives random weights" in answer.map_not_run
    assert any("It survives." in note for note in answer.notes)


def test_runs_are_compared_on_the_same_rows_or_not_at_all(judged_run: Path, copied_run: Path) -> None:
    runs = {"one": RunFolder(judged_run), "two": RunFolder(copied_run)}
    comparison = side_by_side(runs)
    assert {row.name for row in comparison.standings} == {"one", "two"} and comparison.n == 71
    other = next(row for row in comparison.standings if row.difference)
    assert other.difference is not None and other.difference.value == 0 and other.is_within_noise
    table = Predictions.read(copied_run / "oof.parquet")
    replace(table, fold=(table.fold + 1) % 3).write(copied_run / "oof.parquet")
    with pytest.raises(EvidenceError, match="cannot be compared"):
        side_by_side(runs)
