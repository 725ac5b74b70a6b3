"""Bases that are converted into honed's cache: once, whole or not at all, and only from the file that is pinned."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from honed import base_gguf
from honed.base_catalogue import BASES, Mirror
from honed.base_files import converted_folder
from honed.base_gguf import convert_gguf
from honed.bases import find_locally, resolve
from honed.errors import BaseModelError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of converted bases, in a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "honed" / "bases"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """A package with a file in two parts, packages that must not be imported; and a reader that is no good."""
    files = {"planted": "notice", "planted_part1": "x.gguf.part00", "planted_part2": "x.gguf.part01", "gguf": "none"}
    for package, part in files.items():
        (tmp_path / "site" / package / "data").mkdir(parents=True)
        (tmp_path / "site" / package / "__init__.py").write_text("raise RuntimeError('imported')")
        (tmp_path / "site" / package / "data" / part).write_text(part)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    whole = hashlib.sha256(b"x.gguf.part00x.gguf.part01").hexdigest()
    return Mirror("planted", "1", "planted", "data", "gemma", gguf_file="x.gguf", gguf_sha256=whole)


def test_a_conversion_that_fails_leaves_nothing(cache: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted_folder("x", write)
    assert list(cache.iterdir()) == []


def test_what_a_killed_conversion_left_is_never_taken(cache: Path) -> None:
    (cache / "x.k1ll3d" / "x").mkdir(parents=True)
    (cache / "x.k1ll3d" / "x" / "model.safetensors").write_bytes(b"half")
    (cache / "x").mkdir()  # without weights: not a base either
    folder = converted_folder("x", lambda folder: (folder / "model.safetensors").write_bytes(b"whole") and None)
    assert (folder / "model.safetensors").read_bytes() == b"whole"


def test_a_full_disk_is_told(cache: Path) -> None:
    def write(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(BaseModelError, match="No space left") as caught:
        converted_folder("x", write)
    assert str(cache) in str(caught.value) and "XDG_CACHE_HOME" in str(caught.value)


def test_another_process_that_was_first_is_believed(cache: Path) -> None:
    def write(folder: Path) -> None:
        (cache / "x").mkdir()
        (cache / "x" / "model.safetensors").write_bytes(b"theirs")
        raise OSError("Directory not empty")

    assert (converted_folder("x", write) / "model.safetensors").read_bytes() == b"theirs"


def test_the_parts_of_a_file_are_joined_in_order_and_not_imported(mirror: Mirror, tmp_path: Path) -> None:
    base_gguf._assemble(mirror, tmp_path / "joined")
    assert (tmp_path / "joined").read_text() == "x.gguf.part00x.gguf.part01"


@pytest.mark.parametrize("damage", [lambda part: part.unlink(), lambda part: part.write_text("y")])
def test_a_part_that_is_missing_or_changed_is_told(mirror: Mirror, damage: Any, cache: Path) -> None:
    damage(mirror.parts()[1])
    with pytest.raises(BaseModelError, match="not the pinned file") as caught:
        convert_gguf(mirror, "x")
    assert "--force-reinstall planted==1" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_missing_reader_is_told_before_anything_is_written(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseModelError, match=r"honed\[gemma\]"):
        convert_gguf(mirror, "x")


def test_a_file_that_transformers_cannot_read_is_told(mirror: Mirror, cache: Path) -> None:
    with pytest.raises(BaseModelError, match=r"does not read x\.gguf") as caught:
        convert_gguf(mirror, "x")
    assert "pip install -U transformers gguf" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_name_whose_weights_are_its_mirrors_alone_never_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from honed import bases

    def asked(*_args: object, **_options: object) -> Path:
        raise AssertionError("the hub has other weights")

    monkeypatch.setattr(bases, "from_hub_cache", asked)
    monkeypatch.setattr(bases, "from_hub", asked)
    monkeypatch.setattr(Mirror, "folder", lambda self: None)
    spec = BASES["gemma-3-270m"]
    assert not spec.is_hub_copy and find_locally(spec) is None
    with pytest.raises(BaseModelError, match=r"honed\[gemma\]'\.") as caught:
        resolve(spec.name)
    assert "hub" not in str(caught.value)
    with pytest.raises(AssertionError, match="other weights"):
        resolve(spec.hub_id)  # the hub's own weights, as of any model there
