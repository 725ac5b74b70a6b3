"""Finds and reads recipes: YAML files with some of the settings of a run."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from honed.config import read_config
from honed.errors import UsageError

FOLDER = Path(__file__).parent


def recipe_names() -> list[str]:
    """The recipes that come with honed."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a recipe: a name of `recipe_names`, or the path of a YAML file of your own.

    Raises UsageError if there is neither.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    if name not in recipe_names():
        near = difflib.get_close_matches(name, recipe_names(), n=1)
        raise UsageError(
            f"There is no recipe {name!r}.",
            remedy=(f"Did you mean {near[0]!r}? " if near else "")
            + f"Known recipes: {', '.join(recipe_names())}; or name a .yaml file.",
        )
    return FOLDER / f"{name}.yaml"


def read_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe.

    Raises UsageError if there is none of that name, ConfigError if the file cannot be read.
    """
    return read_config(recipe_path(name))
