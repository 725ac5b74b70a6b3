"""`honed check` of a file that is taken to be larger than memory, through the command line, with a real tokenizer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from honed.bases import resolve
from honed.data import spill
from honed.pipeline import check as check_module
from honed.pipeline.prepare import text_tokenizer
from stored_tables import faulty_rows, write


@pytest.fixture
def is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "STREAM_FROM_BYTES", 0)
    monkeypatch.setattr(spill, "SPILL_BYTES", 100)


def test_same_words_as_for_a_small_file(
    cli: Callable, minilm: None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = write(tmp_path / "a.csv", faulty_rows())
    arguments = ("check", data, "--id", "", "--max-tokens", "16", "--test-file", data)
    small, small_json = cli(*arguments), cli(*arguments, "--json")
    request.getfixturevalue("is_large")
    large, large_json = cli(*arguments), cli(*arguments, "--json")
    assert small.code == large.code == 0, large.stderr
    assert small_json.json == large_json.json
    assert small.stdout == large.stdout
    assert large_json.stderr == "" and "Comparing the texts" in large.stderr


def test_tokens_are_counted_as_the_tokenizer_makes_them(minilm: None) -> None:
    tokenizer = text_tokenizer(resolve("minilm", revision=None), 16)
    texts = ["", "a", "the café, 你好 \U0001f600 " * 200, "x" * 500]
    assert tokenizer.count is not None and tokenizer.tokenize is not None
    for _ in range(2):  # counting leaves the tokenizer as it was, and the other way round
        assert tokenizer.count(texts) == [len(ids) for ids in tokenizer.tokenize(texts)]
    assert max(tokenizer.count(texts)) > 512


def test_full_disk_is_told(
    cli: Callable, minilm: None, is_large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: mounting a small tmpfs needs root")
    data = write(tmp_path / "a.csv", faulty_rows(3000))
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"NOT RUN: no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("TMPDIR", str(disk))
        monkeypatch.setattr("tempfile.tempdir", None)
        said = cli("check", data, "--out", tmp_path / "out.parquet")
        assert said.code == 1 and "disk is full" in said.stderr and str(disk) in said.stderr, said.stderr
        assert list(disk.iterdir()) == [] and not (tmp_path / "out.parquet").exists()
    finally:
        subprocess.run(["umount", disk], check=True)
