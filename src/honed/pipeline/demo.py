"""The demo's configuration: an embedded default that shows what honed is for, without a model hub."""

from __future__ import annotations

from honed.config import Config, make_config
from honed.pipeline.prepare import DEMO_DATA


def demo_config(out: str | None = None) -> Config:
    """Licence snippets into categories, grouped by licence: snippets of one licence in two folds would leak."""
    return make_config({"data": DEMO_DATA, "group": "licence", "out": out})
