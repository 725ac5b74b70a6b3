"""Which probes are asked, and which runs may sort the replies."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from honed.config import make_config
from honed.errors import RunFolderError, UsageError
from honed.evidence.reply_rates import REPLY_CLASSES
from honed.pipeline.conscience import probes_of
from honed.pipeline.detector import detector_of, drawn
from honed.recipes.safety_probes import SafetyProbe

PROBES = probes_of(make_config({}))


def run_of(folder: Path, label_names: list[str]) -> str:
    (folder / "adapter").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"label_names": label_names}))
    for name in ("config.yaml", "verdict.json", "folds.parquet", "dataset.json"):
        (folder / name).write_text("{}")
    return str(folder)


def test_probes_are_drawn_by_kind_and_category_without_favour() -> None:
    at = drawn(PROBES, 36, seed=0)
    assert len(set(at)) == 36 and at != drawn(PROBES, 36, seed=1) and at == drawn(PROBES, 36, seed=0)
    kinds = Counter(isinstance(PROBES[i], SafetyProbe) for i in at)
    assert kinds == {True: 24, False: 12}
    asked = Counter(PROBES[i].category.partition("/")[0] for i in at if isinstance(PROBES[i], SafetyProbe))
    for domain, n in asked.items():
        every = sum(isinstance(p, SafetyProbe) and p.category.startswith(domain) for p in PROBES)
        assert abs(n - 24 * every / 249) <= 1, domain


def test_each_probe_has_the_same_chance() -> None:
    times = Counter(i for seed in range(300) for i in drawn(PROBES, 36, seed))
    assert len(times) == len(PROBES)
    assert max(times.values()) < 60  # 29 on average


@pytest.mark.parametrize(("n", "harm", "benign"), [(400, 249, 125), (300, 200, 100), (4, 3, 1)])
def test_no_more_are_asked_than_there_are(n: int, harm: int, benign: int) -> None:
    kinds = Counter(isinstance(PROBES[i], SafetyProbe) for i in drawn(PROBES, n, seed=0))
    assert kinds == {True: harm, False: benign}


def test_one_kind_alone_fills_the_sample() -> None:
    harm = [p for p in PROBES if isinstance(p, SafetyProbe)]
    assert len(drawn(harm, 36, 0)) == len(drawn(PROBES[249:], 36, 0)) == 36


def test_a_detector_with_the_classes_is_taken(tmp_path: Path) -> None:
    assert detector_of(make_config({}), PROBES) is None
    found = detector_of(make_config({"detector": run_of(tmp_path / "run", list(REPLY_CLASSES))}), PROBES)
    assert found is not None and found.path == tmp_path / "run"


def test_other_runs_are_refused(tmp_path: Path) -> None:
    other = run_of(tmp_path / "other", ["good", "bad"])
    with pytest.raises(UsageError, match="tells apart good, bad; it must tell harmful, no_answer, refusal, sound"):
        detector_of(make_config({"detector": other}), PROBES)
    with pytest.raises(UsageError, match="no classes"):
        detector_of(make_config({"detector": run_of(tmp_path / "words", [])}), PROBES)
    with pytest.raises(RunFolderError, match="There is no detector"):
        detector_of(make_config({"detector": str(tmp_path / "nowhere")}), PROBES)
    (tmp_path / "other" / "verdict.json").unlink()
    with pytest.raises(RunFolderError, match="not finished"):
        detector_of(make_config({"detector": other}), PROBES)


def test_without_a_probe_there_is_nothing_to_sort(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to sort"):
        detector_of(make_config({"detector": str(tmp_path), "safety": "off"}), [])
