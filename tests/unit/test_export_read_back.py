"""The read-back stands on its own: what it may import, what it does with damage, and which layer it names."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from honed.errors import OutputError, ParityError, UsageError
from honed.export.first_difference import LayerGap, first_difference
from honed.export.formats import FORMATS, get_format
from honed.export.other_program import Unreadable, reading
from honed.pipeline import export as exporting

PROGRAMS = ("other_program", "torch_programs", "onnx_program")
OWN_MODELS = ("honed.training", "honed.tasks", "honed.methods", "honed.serving", "honed.bases", "honed.routing")


@pytest.mark.parametrize("name", PROGRAMS)
def test_reading_back_uses_nothing_of_our_own_models(name: str, repo: Path) -> None:
    tree = ast.parse((repo / "src" / "honed" / "export" / f"{name}.py").read_text(encoding="utf-8"))
    taken = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in taken if module.startswith(OWN_MODELS)}
    assert {module for module in taken if module.startswith("honed")} <= {
        "honed.base_shape", "honed.export.other_program"
    }  # fmt: skip


def gap(layer: str, value: float, allowed: float = 1e-4) -> LayerGap:
    return LayerGap(layer, value, allowed)


def test_the_lowest_layer_that_differs_is_named_however_much_others_do() -> None:
    gaps = [gap("embeddings", 1e-6), gap("layer.0", 2e-4), gap("layer.1", 7.0)]
    found = first_difference(gaps)
    assert found is not None and found.layer == "layer.0"
    assert first_difference(gaps[:1]) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_differs_and_can_be_written(value: float) -> None:
    found = gap("head", value)
    assert found.differs and found.to_json()["max_difference"] is None


def test_a_fault_of_the_other_program_says_in_which_part() -> None:
    with pytest.raises(Unreadable, match=r"its model gives ValueError: no such thing"), reading("model"):
        raise ValueError("no such thing\nand more")
    with pytest.raises(KeyboardInterrupt), reading("model"):
        raise KeyboardInterrupt


def test_flags_are_judged_first() -> None:
    with pytest.raises(UsageError, match="--to gguf is not one of peft, merged, onnx"):
        get_format("gguf")
    with pytest.raises(UsageError, match="--int8 means nothing with --to merged"):
        get_format("merged", int8=True)
    assert FORMATS["onnx"].has_int8


def test_a_missing_extra_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *arguments: Any) -> Any:
        return None if name == "onnxscript" else object()

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(UsageError, match=r"Missing: onnxscript\..*pip install 'honed\[onnx\]'"):
        get_format("onnx")


def test_rows_are_drawn_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"{i:04}" for i in range(50)]
    assert exporting._drawn(ids) == ids
    monkeypatch.setattr(exporting, "MAX_ROWS", 8)
    drawn = exporting._drawn(ids)
    assert drawn == exporting._drawn(ids) == sorted(set(drawn)) and len(drawn) == 8


def test_an_export_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "export"

    def write_half() -> None:
        with exporting._whole(target) as folder:
            (folder / "half").write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="could not be written: No space left"):
        write_half()
    assert list(tmp_path.iterdir()) == []
    target.mkdir()  # empty: a user may have made it
    with exporting._whole(target) as folder:
        (folder / "whole").write_text("x")
    assert [path.name for path in target.iterdir()] == ["whole"] and len(list(tmp_path.iterdir())) == 1


def test_a_parity_error_ends_with_exit_code_4() -> None:
    assert ParityError("x").exit_code == 4 and ParityError("x").facts == {}
