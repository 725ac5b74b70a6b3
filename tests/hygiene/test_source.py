"""Every file of src keeps the rules of the house; and each rule is shown to catch a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygiene.source_rules import (
    HEAVY,
    MAX_LINES,
    forbidden_names,
    heavy_at_import,
    imports_through_a_package,
    undocumented,
    unsafe_loading,
)

REPO = Path(__file__).resolve().parents[2]
SRC = REPO / "src"
FILES = sorted((SRC / "honed").rglob("*.py"))
MODULES = frozenset(
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__") for path in FILES
) | frozenset(".".join(path.parent.relative_to(SRC).parts) for path in FILES)
# Modules whose whole purpose is torch: they are imported by the functions that need them, never at the start.
# The estimator's base class is scikit-learn's; `honed.__getattr__` imports it when it is first used.
TORCH_HALF = ("training", "methods", "tasks", "probes", "serving", "planning", "estimator.py")


def name(path: Path) -> str:
    return str(path.relative_to(REPO))


def test_the_package_is_there() -> None:
    assert len(FILES) > 5


@pytest.mark.parametrize("path", sorted(REPO.glob("[!.]*/**/*.py")), ids=name)
def test_no_file_is_over_400_lines(path: Path) -> None:
    if any(part.startswith(".") or part in ("build", "dist") for part in path.relative_to(REPO).parts):
        pytest.skip("not a source file")
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"{name(path)} has {n_lines} lines: split it by purpose"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_source_keeps_the_rules(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert unsafe_loading(source) == []
    assert undocumented(source) == []
    assert forbidden_names(name(path), source) == []
    if path != SRC / "honed" / "__init__.py":
        assert imports_through_a_package(source, MODULES) == []
    if path.relative_to(SRC / "honed").parts[0] not in TORCH_HALF:
        assert heavy_at_import(source) == [], "import it inside the function that needs it"


@pytest.mark.parametrize("path", sorted((SRC / "honed" / "evidence").rglob("*.py")), ids=name)
def test_evidence_never_names_torch(path: Path) -> None:
    assert "import torch" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "def f():\n    import numpy as np\n    np.load('x', allow_pickle=True)",
        "from_pretrained('x', trust_remote_code=True)",
        "eval('1')",
        "load(weights_only=False)",
    ],
)
def test_unsafe_loading_is_caught(source: str) -> None:
    assert unsafe_loading(source)


def test_safe_loading_is_not() -> None:
    assert unsafe_loading("f(trust_remote_code=False, allow_pickle=False)\nmodel.eval()") == []


def test_a_missing_docstring_is_caught() -> None:
    source = '"""M."""\nclass A:\n    """A."""\n    def f(self): ...\n    def _g(self): ...\ndef h(): ...\n'
    assert undocumented(source) == ["A.f", "h"]
    assert undocumented("x = 1") == ["the module"]


def test_an_import_through_a_package_is_caught() -> None:
    modules = frozenset(("honed", "honed.data", "honed.data.dataset", "honed.oof"))
    assert imports_through_a_package("from honed.data import Dataset", modules)
    assert imports_through_a_package("from honed import fit", modules)
    assert imports_through_a_package("import honed", modules)
    assert imports_through_a_package("from .dataset import Dataset", modules)
    assert not imports_through_a_package("from honed.data import dataset\nfrom honed.oof import OutOfFold", modules)


def test_a_heavy_import_is_caught_only_where_it_costs() -> None:
    assert heavy_at_import("import torch")
    assert heavy_at_import("try:\n    from scipy import stats\nexcept ImportError:\n    pass")
    assert heavy_at_import("class A:\n    import sklearn.base")
    assert not heavy_at_import("def f():\n    import torch")
    assert not heavy_at_import("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch")
    assert "torch" in HEAVY


def test_a_name_that_says_nothing_is_caught() -> None:
    assert forbidden_names("src/honed/text_utils.py", "")
    assert forbidden_names("src/honed/x.py", "class FoldManager: ...")
    assert not forbidden_names("src/honed/base_files.py", "class Fold: ...")
