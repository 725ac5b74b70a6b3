"""Small finished runs to export: a tiny base, a toy task, the holdout opened. Read only for the tests."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import honed
import models as m

LABELS = ("good", "bad", "late")


def make_run(folder: Path, method: str, head: str, **settings: Any) -> Path:
    """A run under `folder` of the rows that `models.toy_texts` gives, over a tiny BERT in a folder of its own.

    Every other text begins with a capital letter, which the base's tokenizer does not know and a stale one might.
    """
    base, data = folder / "base", folder / "toy.csv"
    if not base.exists():
        m.save_tiny_base(base, "bert")
        texts, label = m.toy_texts(60)
        shown = [text.capitalize() if i % 2 else text for i, text in enumerate(texts)]
        with data.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *zip(shown, (LABELS[j] for j in label), strict=True)])
    chosen: dict[str, Any] = {
        "base": str(base), "method": method, "head": head, "depth": 2, "max_tokens": 6, "folds": 2, "epochs": 2,
        "learning_rate": 1e-2, "holdout_frac": 0.3, "device": "cpu", "out": folder / f"{method}-{head}-{len(settings)}",
    }  # fmt: skip
    return honed.fit(data, chosen | settings).path
