"""Small finished runs on images: a tiny vision transformer, pictures whose class can be seen, the holdout opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import honed
import models as m
from honed.artifact import write_json
from honed.bases import ResolvedBase, resolve
from image_files import encoded, picture, write_images

LABELS = ("blue", "green", "red")


def save_tiny_image_base(folder: Path) -> ResolvedBase:
    """A tiny DINOv2 of random weights, as a folder that plain transformers can load."""
    m.tiny_model("dinov2", "float32").save_pretrained(folder)
    grey = [0.5, 0.5, 0.5]
    write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "BitImageProcessor", "image_mean": grey, "image_std": grey, "resample": 3,
        "rescale_factor": 1 / 255,
    })  # fmt: skip
    return resolve(str(folder))


def coloured(n: int, size: int = 20) -> dict[str, bytes]:
    """Pictures, no two alike, each tinted in the colour of its class: row i is of class i % 3."""
    images = {}
    for i in range(n):
        tint = np.zeros(3)
        tint[2 - i % 3] = 90
        values = np.clip(picture(i, size) * 0.6 + tint, 0, 255).astype(np.uint8)
        images[f"images/{i:03}.png"] = encoded(values)
    return images


def write_coloured(folder: Path, n: int = 60, **more: bytes) -> Path:
    """A folder of coloured pictures with their metadata. more : further files, labelled red."""
    images = coloured(n)
    labels = [*(LABELS[i % 3] for i in range(n)), *("red" for _ in more)]
    return write_images(folder, images | {name.replace("_", "."): data for name, data in more.items()}, labels)


def make_run(folder: Path, method: str, head: str, **settings: Any) -> Path:
    """A run under `folder` of coloured pictures, over a tiny base in a folder of its own."""
    base, data = folder / "base", folder / "data"
    if not base.exists():
        save_tiny_image_base(base)
        write_coloured(data)
    chosen: dict[str, Any] = {
        "base": str(base), "method": method, "head": head, "depth": 2, "image_size": 28, "folds": 2, "epochs": 3,
        "views": 1, "layers": "all", "learning_rate": 1e-2, "holdout_frac": 0.3, "device": "cpu",
        "out": folder / f"{method}-{head}-{len(settings)}",
    }  # fmt: skip
    return honed.fit(data, chosen | settings).path
