"""`--parameters`: from a number of weights to a method, its options and a depth."""

from __future__ import annotations

from honed.config import Config
from honed.methods.base import get_method
from honed.planning.budget import choose, parse_parameters
from honed.planning.shapes import read_base_shape, shortened


def within_budget(config: Config, place: str = "") -> tuple[Config, str]:
    """The configuration with what the budget chose in the place of `parameters`, and a sentence that says why.

    place : the folder of the base, if it was resolved before.
    A method or depth that the user named is kept. Without a budget nothing changes.

    Raises UsageError if nothing fits.
    """
    if config.parameters is None:
        return config, ""
    is_named = "method" in config.model_fields_set
    choice = choose(
        shortened(read_base_shape(place or config.base, revision=config.revision), config.layers),
        parse_parameters(config.parameters),
        method=config.method if is_named else None,
        options=config.method_options,
        depth=config.depth,
    )
    chosen = {
        "parameters": None,
        "method": choice.method,
        "method_options": choice.method_options,
        "depth": choice.depth,
        "learning_rate": config.learning_rate or get_method(choice.method).learning_rate,
    }
    return config.model_copy(update=chosen), choice.why
