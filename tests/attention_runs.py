"""Images whose label sits in a known corner, and a small base that can learn it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import honed
from honed.artifact import write_json
from image_files import encoded

SIDE, PATCH = 3, 14
CORNER = (SIDE - 1, 0)


def save_base(folder: Path) -> Path:
    """A DINOv2 of two layers, whose random weights are large enough that places and contents can be told apart."""
    import torch
    import transformers

    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=SIDE * PATCH,
        patch_size=PATCH, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.Dinov2Model(config).save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "BitImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3,
        "rescale_factor": 1 / 255,
    })  # fmt: skip
    return folder


def write_planted(folder: Path, n: int, *, shuffled: bool = False) -> Path:
    """Boards of dark and bright cells; the label is the cell in the lower left corner, which a mask marks with 1.

    shuffled : the labels are dealt out anew, so that no cell says anything.
    """
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    cells = rng.integers(0, 2, (n, SIDE, SIDE))
    cells[:, CORNER[0], CORNER[1]] = label
    told = rng.permutation(label) if shuffled else label
    (folder / "images").mkdir(parents=True)
    mask = np.kron(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) == CORNER[0] * SIDE, np.ones((PATCH, PATCH)))
    (folder / "mask.png").write_bytes(encoded(mask.astype(np.uint8)))
    rows = ["file_name,label,mask"]
    for i in range(n):
        values = np.kron(cells[i], np.ones((PATCH, PATCH))) * 120 + 60
        values += rng.normal(0, 12, values.shape)
        (folder / f"images/{i:03}.png").write_bytes(encoded(np.clip(values, 0, 255).astype(np.uint8)))
        rows.append(f"images/{i:03}.png,{['dark', 'bright'][told[i]]},mask.png")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def fit_planted(data: Path, base: Path, out: Path, **settings: Any) -> Path:
    """A run that learns it, if there is something to learn."""
    chosen: dict[str, Any] = {
        "base": str(base), "method": "full", "head": "cls", "depth": "all", "image_size": SIDE * PATCH, "folds": 2,
        "layers": "all", "views": 1, "batch_size": 16, "head_learning_rate": 1e-2, "stop_frac": 0.1,
        "epochs": 30, "patience": 12, "learning_rate": 3e-3, "holdout_frac": 0.1, "device": "cpu", "gate": False,
        "clean": "off", "out": out,
    }  # fmt: skip
    return honed.fit(data, chosen | settings).path
