"""The adapter to Microsoft Presidio, on a small spaCy pipeline that knows two persons; no model is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.data.personal.find import find_personal_batch, mask
from honed.data.personal.presidio import PresidioFinder
from honed.data.personal.pseudonyms import Pseudonyms
from honed.errors import UsageError

MISSING = "NOT RUN: needs pip install 'honed[presidio]'"
TEXTS = ["Quetzal Umbrella wrote to a@example.org", "nothing", "Unser Büro is <NAME_1>, Mark. Then Quetzal Umbrella"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("presidio_analyzer", reason=MISSING)
    import spacy

    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    phrases = ("Quetzal Umbrella", "<NAME_1>", "Mark", "Büro is", "nothing")
    ruler.add_patterns([{"label": "PERSON", "pattern": phrase} for phrase in phrases])
    path = tmp_path_factory.mktemp("model") / "two_persons"
    nlp.to_disk(path)
    return path


def test_persons_that_only_the_model_knows_are_found_too(model: Path) -> None:
    finder = PresidioFinder.load(str(model))
    found = [(i, hit.kind, TEXTS[i][hit.start : hit.end], hit.detail) for i, hit in finder(TEXTS)]
    assert found == [
        (0, "name", "Quetzal Umbrella", "by a language model"),
        (0, "email", "a@example.org", ""),
        (2, "name", "Quetzal Umbrella", "by a language model"),
    ], "not what is no name in its capitals, a word alone, or a pseudonym"
    assert {hit for _, hit in find_personal_batch(TEXTS)} < {hit for _, hit in finder(TEXTS)}
    assert mask(TEXTS[0], finder) == "[name of a person] wrote to [e-mail address]"
    assert Pseudonyms(finder).replace(TEXTS[:1], [None]) == ["<NAME_1> wrote to <EMAIL_1>"]
    assert finder([]) == []


def test_a_missing_or_unfit_model_is_refused(model: Path, tmp_path: Path) -> None:
    import spacy

    with pytest.raises(UsageError, match="there is no such spaCy model here"):
        PresidioFinder.load("no_such_model")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(UsageError, match="finds no persons"):
        PresidioFinder.load(str(tmp_path / "blank"))


def test_without_presidio_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "presidio_analyzer", None)
    with pytest.raises(UsageError) as error:
        PresidioFinder.load("en_core_web_sm")
    assert "honed[presidio]" in str(error.value.remedy)
