"""Rule 1: the holdout is locked before anything is fitted, be it only the small models that look for leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

import models as m
from honed.config import make_config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.issue_table import Issue
from honed.pipeline import fit as fitting
from honed.pipeline import prepare


class _Enough(Exception):  # noqa: N818 - a signal, not an error
    pass


def test_leaks_are_sought_in_development_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a search over all rows would fit small models on labels of the locked holdout."""
    base = m.save_tiny_base(tmp_path / "base", "bert")
    texts, label = m.toy_texts(120)
    rows = "".join(f'r{i},"{text}",c{j}\n' for i, (text, j) in enumerate(zip(texts, label, strict=True)))
    (tmp_path / "toy.csv").write_text("id,text,label\n" + rows, encoding="utf-8")
    seen: list[set[str]] = []

    def spy(rows: Dataset) -> tuple[list[Issue], list[str]]:
        seen.append(set(rows.example_id.tolist()))
        return [Issue("trait_leak", 0.5, "review", "told")], ["not run, because of the weather"]

    def stop(*given: object) -> None:
        prepared, plan = given[3], given[4]
        assert isinstance(prepared, prepare.Prepared) and isinstance(plan, FoldPlan)
        locked = set(prepared.dataset.example_id[plan.holdout].tolist())
        assert locked and seen == [set(prepared.dataset.example_id.tolist()) - locked]
        assert prepared.facts["checks"]["counts"]["trait_leak"] == 1
        assert prepared.facts["checks"]["not_run"] == ["not run, because of the weather"]
        assert "trait_leak" in prepared.issues.check.tolist()
        raise _Enough

    monkeypatch.setattr(prepare, "sample_checks", spy)
    monkeypatch.setattr(fitting, "_train_and_judge", stop)
    values = {"data": str(tmp_path / "toy.csv"), "base": str(base.path), "folds": 3, "max_tokens": 16, "device": "cpu"}
    with pytest.raises(_Enough):
        fitting.fit(make_config(values | {"out": str(tmp_path / "run")}))
