"""What the README of an export and the model card tell somebody who never saw honed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from honed.artifact import ArtifactInfo
from honed.export.readme import write_readme
from image_runs import make_run

INFO = ArtifactInfo(
    base="dinov2-small", base_hub_id="facebook/dinov2-small", base_revision=None, base_sha256="0", tokenizer_sha256="",
    task="image_classification", method="lora", method_options={}, head="both", label_names=("a", "b", "c"),
    max_tokens=128, temperature=1.5, n_layers=6, depth=1, dtype="float32", dataset_fingerprint="0",
    reading={"size": 56, "fit": "letterbox", "mean": [0.5] * 3, "std": [0.5] * 3, "resample": 3, "n_special_tokens": 1},
)  # fmt: skip


@pytest.mark.parametrize("kind", ["peft", "merged", "onnx"])
def test_the_readme_says_the_layers_and_the_operating_point(kind: str, tmp_path: Path) -> None:
    write_readme(tmp_path, kind, INFO)
    plain = (tmp_path / "README.md").read_text()
    assert "the lowest 6 layers of facebook/dinov2-small" in plain and "is_ill" not in plain
    write_readme(tmp_path, kind, replace(INFO, positive=("b", "c"), threshold=0.4))
    blocks = re.findall(r"```python\n(.*?)```", (tmp_path / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for probs, is_ill in (([0.61, 0.2, 0.19], False), ([0.59, 0.21, 0.2], True)):
        names = {"probs": np.array([probs])}
        exec(blocks[1], names)  # noqa: S102 - our own README
        assert names["is_ill"] == is_ill


def test_the_card_of_an_image_run_speaks_of_images(tmp_path: Path) -> None:
    card = (make_run(tmp_path, "lora", "both", layers=2, depth=1) / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card and "layers: 2" in card and "image\\_size: 28" in card
    assert "the lowest 2 layers of the base, of which top layers adapted: 1" in card
    for word in ("AutoTokenizer", "a text to classify", "tokens of a text", "sort texts"):
        assert word not in card
