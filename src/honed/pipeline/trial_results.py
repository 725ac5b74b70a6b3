"""What a group of trials leaves on disk when it is done, so that a killed run does not train it again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.artifact import write_json
from honed.errors import RunFolderError
from honed.training.range_test import RangeTest
from honed.training.trials import TrialRecord


@dataclass(frozen=True)
class GroupResult:
    """How the trials of one group went.

    tests : the range tests, by slot.    logits : of the test part of each fold whose best trial so far is among them.
    """

    records: list[TrialRecord]
    tests: dict[str, RangeTest]
    logits: dict[int, npt.NDArray[np.float64]]


def write_result(place: Path, mark: str, result: GroupResult) -> None:
    """Write PLACE.npz and then PLACE.json: where the second is, the first is whole.

    mark : of configuration, data and settings.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".npz").open("wb") as file:
        np.savez(file, **{str(fold): logits for fold, logits in result.logits.items()})  # type: ignore[arg-type]
    write_json(
        place.with_suffix(".json"),
        {
            "mark": mark,
            "records": [one.to_json() for one in result.records],
            "tests": {name: test.to_json() for name, test in result.tests.items()},
        },
    )


def read_result(place: Path, mark: str) -> GroupResult | None:
    """What `write_result` wrote; None if there is nothing.

    Raises RunFolderError if it is damaged or belongs to another run.
    """
    path = place.with_suffix(".json")
    if not path.exists():
        return None
    remedy = f"Delete {place.parent} to start training from the beginning."
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        with np.load(place.with_suffix(".npz")) as file:
            logits = {int(fold): file[fold] for fold in file.files}
        records = [TrialRecord(**one) for one in state["records"]]
        tests = {name: RangeTest(**one) for name, one in state["tests"].items()}
        found = state["mark"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged: {error}", remedy=remedy) from error
    if found != mark:
        raise RunFolderError(f"{path} belongs to another configuration or other data.", remedy=remedy)
    return GroupResult(records, tests, logits)
