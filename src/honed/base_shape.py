"""What transformers makes of a base model's config.json: architecture, depth, width, reach."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from honed.errors import BaseModelError, UsageError

# Position ids of these architectures begin after the padding id, so the table has pad_token_id + 1 unused rows.
_OFFSET_POSITIONS = frozenset(("camembert", "ibert", "longformer", "mpnet", "roberta", "xlm-roberta", "xlm-roberta-xl"))


@dataclass(frozen=True)
class Shape:
    """architecture : the backbone's class in transformers.    max_positions : tokens, None if unlimited."""

    architecture: str
    n_layers: int
    hidden_size: int
    max_positions: int | None


def read_shape(model_type: str, path: Path) -> Shape:
    """Architecture, depth, width and reach, as transformers reads them from the folder's config.json.

    Raises BaseModelError if transformers does not know the architecture or the configuration is not complete.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    if model_type not in CONFIG_MAPPING_NAMES or model_type not in MODEL_MAPPING_NAMES:
        close = difflib.get_close_matches(model_type, MODEL_MAPPING_NAMES, n=1)
        raise BaseModelError(
            f"The base model in {path} has the architecture {model_type!r}, which transformers "
            f"{transformers.__version__} does not know."
            + (f" The nearest known one is {close[0]!r}." if close else ""),
            remedy="Upgrade transformers if the architecture is new, or use a base model of a known architecture.",
        )
    with quiet():
        try:
            config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            text = config.get_text_config()
            n_layers, hidden_size = int(text.num_hidden_layers), int(text.hidden_size)
        except (AttributeError, TypeError, ValueError, OSError) as error:
            raise BaseModelError(
                f"{path / 'config.json'} is not a complete {model_type!r} configuration.",
                cause=f"{str(error).splitlines()[0] if str(error) else type(error).__name__}.",
                remedy="Save the model again with `save_pretrained`, or use another base model.",
            ) from error
    reach = getattr(text, "max_position_embeddings", None)
    if reach is not None and model_type in _OFFSET_POSITIONS:
        reach -= int(text.pad_token_id or 0) + 1
    names = MODEL_MAPPING_NAMES[model_type]
    return Shape(
        architecture=names if isinstance(names, str) else names[0],
        n_layers=n_layers,
        hidden_size=hidden_size,
        max_positions=None if reach is None else int(reach),
    )


Layers = int | Literal["auto", "all", "measured"]
"""How many layers of a base are used; `auto` and `measured` stand for numbers that are settled before it is loaded."""


def used_layers(layers: Layers, n_layers: int, name: str) -> int:
    """How many of the base's layers `--layers` leaves.

    Raises UsageError if it has fewer.
    """
    if layers == "all":
        return n_layers
    assert isinstance(layers, int), "settle the configuration first"
    if layers > n_layers:
        raise UsageError(
            f"--layers {layers} is more than base {name!r} has.", remedy=f"Use all, or a number from 1 to {n_layers}."
        )
    return layers


def cut_off(config: Any, n_layers: int) -> None:
    """Let a configuration of transformers describe only the lowest `n_layers` layers."""
    inner = config.get_text_config()
    if inner.num_hidden_layers != n_layers:
        inner.num_hidden_layers = n_layers
        if getattr(inner, "layer_types", None):
            inner.layer_types = inner.layer_types[:n_layers]
        if getattr(inner, "stage_names", None):  # a vision backbone names its layers, and which of them it gives
            inner.stage_names = inner.stage_names[: n_layers + 1]
            inner.set_output_features_output_indices(out_features=None, out_indices=None)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and loading notes off the user's screen; what matters is checked, not read."""
    import warnings

    from transformers.utils import logging

    verbosity, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bar:
            logging.enable_progress_bar()
