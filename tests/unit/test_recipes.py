"""Recipes are settings that honed accepts, and files that a person can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from honed.app.config_flags import resolve_config
from honed.config import make_config
from honed.errors import ConfigError, UsageError
from honed.pipeline.compare import candidates
from honed.recipes.library import read_recipe, recipe_names, recipe_path


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_valid_and_fit_to_be_compared(name: str) -> None:
    make_config(read_recipe(name))
    candidates([], {name: read_recipe(name)})
    lines = recipe_path(name).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and any("20" in line for line in lines if line.startswith("#")), "no source named"


def test_the_domains_of_the_design_have_a_recipe() -> None:
    assert set(recipe_names()) >= {"finance", "medical-imaging", "education", "legal"}


def test_defaults_then_recipe_then_file_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 7\n")
    config = resolve_config({"batch_size": "8"}, file, "medical-imaging")
    assert (config.method, config.depth, config.epochs, config.batch_size) == ("lora", "all", 7, 8)
    assert config.learning_rate == 1e-4


def test_another_method_drops_the_recipes_options() -> None:
    config = resolve_config({"method": "full"}, None, "medical-imaging")
    assert config.method == "full" and config.method_options == {}


def test_a_recipe_of_ones_own_is_a_yaml_file(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("epochs: 2\nrnak: 3\n")
    with pytest.raises(ConfigError, match="rnak: unknown"):
        resolve_config({}, None, str(file))
    with pytest.raises(UsageError, match="Did you mean 'legal'"):
        read_recipe("leagl")
