"""Who may ask, and how often: keys, their specialists, the rate."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from honed.errors import UsageError
from honed.serving.keys import KeyFile, add_key, read_keys, remove_key
from honed.serving.rate import RateLimit


def test_a_key_is_found_and_its_file_holds_only_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    token = add_key(path, "clinic", ["lungs", "skin-*"])
    assert token not in path.read_text() and path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text())["keys"][0]["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    key = KeyFile(path).find(token)
    assert key is not None and key.id == "clinic"
    assert [key.opens(name) for name in ("lungs", "skin-2", "skin", "Lungs", "lungs2")] == [True, True, *[False] * 3]
    assert KeyFile(path).find(token[:-1]) is None and KeyFile(path).find("") is None


def test_a_key_taken_back_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    token = add_key(path, "a", ["*"])
    other = add_key(path, "b", ["*"])
    keys = KeyFile(path)
    remove_key(path, "a")
    assert keys.find(token) is None and keys.find(other) is not None
    path.write_text("{")  # somebody edits it by hand
    assert keys.find(other) is not None and keys.find(token) is None


def test_wrong_key_files_and_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with pytest.raises(UsageError, match=r"cannot be read.*honed keys add"):
        KeyFile(path)
    add_key(path, "a", ["*"])
    with pytest.raises(UsageError, match="already has a key 'a'"):
        add_key(path, "a", ["*"])
    with pytest.raises(UsageError, match="cannot be the name"):
        add_key(path, "a/b", ["*"])
    with pytest.raises(UsageError, match=r"no key 'z'.*It has a"):
        remove_key(path, "z")
    assert [key.id for key in read_keys(path)] == ["a"]


def test_a_bucket_holds_two_seconds_and_fills_steadily() -> None:
    rate = RateLimit(10, burst_s=2)
    assert rate.wait_s("a", 20, now=0) == 0
    assert rate.wait_s("a", 1, now=0) == pytest.approx(0.1)
    assert rate.wait_s("b", 1, now=0) == 0, "one caller's haste is not another's"
    assert rate.wait_s("a", 5, now=0.5) == 0
    assert rate.wait_s("a", 1, now=0.5) > 0


def test_a_request_larger_than_the_bucket_is_paid_for_later() -> None:
    rate = RateLimit(10, burst_s=2)
    assert rate.wait_s("a", 50, now=0) == 0
    assert rate.wait_s("a", 1, now=1) == pytest.approx(2.1)
    assert RateLimit(None).wait_s("a", 10**9) == 0


def test_callers_without_end_do_not_fill_the_memory() -> None:
    rate = RateLimit(1)
    for i in range(10_500):
        rate.wait_s(f"caller {i}", 1, now=float(i))
    assert len(rate._buckets) == 10_000
