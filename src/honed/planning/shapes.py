"""The shape of a base model, without its weights: from its config.json, or by a name that stands for a size."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from honed.base_files import read_config
from honed.base_shape import Layers, cut_off, quiet, read_shape, used_layers
from honed.bases import ResolvedBase, resolve
from honed.errors import BaseModelError, UsageError
from honed.tasks.image_classification import ImageClassification
from honed.tasks.image_reading import ImageReading

SHAPES: dict[str, dict[str, Any]] = {
    # A dense decoder of the Llama 3 family: between its 70 B (80 layers of 8192) and 405 B (126 layers of 16384)
    # (Grattafiori et al. 2024, The Llama 3 Herd of Models, table 3).
    "100b": {
        "model_type": "llama",
        "vocab_size": 128_256,
        "hidden_size": 10_240,
        "intermediate_size": 28_672,
        "num_hidden_layers": 88,
        "num_attention_heads": 80,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
    },
    # A mixture of 384 experts of which 8 (and a shared one) see each token: the shape of Kimi K2 (Kimi Team 2025,
    # table 2), in the architecture of DeepSeek-V3 (DeepSeek-AI 2024, section 2.1), which it shares.
    "1t": {
        "model_type": "deepseek_v3",
        "vocab_size": 163_840,
        "hidden_size": 7_168,
        "intermediate_size": 18_432,
        "moe_intermediate_size": 2_048,
        "num_hidden_layers": 61,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "n_shared_experts": 1,
        "n_routed_experts": 384,
        "num_experts_per_tok": 8,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": 1_536,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "max_position_embeddings": 131_072,
    },
}


@dataclass(frozen=True)
class BaseShape:
    """A base model as far as planning needs it.

    config : transformers' configuration.    folder : where its weights and tokenizer are, if they are here.
    """

    name: str
    config: Any
    n_layers: int
    hidden_size: int
    max_positions: int | None
    folder: Path | None

    def as_base(self) -> ResolvedBase:
        """The base without its weights, for a tokenizer or a task, which need none."""
        return ResolvedBase(
            self.name, self.folder or Path(), "folder", None, None, "", str(self.config.model_type), self.n_layers,
            self.hidden_size, self.max_positions, 0,
        )  # fmt: skip


def read_base_shape(name: str, *, revision: str | None = None) -> BaseShape:
    """The shape of a base: a name in `SHAPES`, a folder or JSON file with a configuration, or whatever `resolve` finds.

    Raises BaseModelError if there is no such base, or its configuration is not complete or not known.
    """
    import transformers

    if name.casefold() in SHAPES:
        values = dict(SHAPES[name.casefold()])
        config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
        return BaseShape(name.casefold(), config, config.num_hidden_layers, config.hidden_size,
                         config.max_position_embeddings, None)  # fmt: skip
    place = Path(name).expanduser()
    if place.suffix == ".json" and place.is_file():
        values, folder = _read_file(place), None
    elif place.is_dir():
        values, folder = read_config(place), place
    else:
        base = resolve(name, revision=revision)
        place, folder = base.path, base.path
        values = read_config(place)
    shape = read_shape(str(values["model_type"]), place)
    with quiet():
        config = transformers.AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    return BaseShape(name, config, shape.n_layers, shape.hidden_size, shape.max_positions, folder)


def image_tokens(base: BaseShape, reading: ImageReading) -> int:
    """Tokens into which the base turns an image, found on a model without content.

    Raises BaseModelError if it cannot read such images.
    """
    import transformers
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers.initialization import no_init_weights

    with FakeTensorMode(), quiet(), no_init_weights():
        model = transformers.AutoModel.from_config(base.config)
        return ImageClassification.over(base.as_base(), reading.to_json(), model).length


def shortened(base: BaseShape, layers: Layers) -> BaseShape:
    """The base cut off after its lowest `layers` layers; see `honed.bases.shortened`.

    Raises UsageError if it has fewer.
    """
    n_layers = used_layers(layers, base.n_layers, base.name)
    config = copy.deepcopy(base.config)
    cut_off(config, n_layers)
    return replace(base, config=config, n_layers=n_layers)


def check_reach(base: BaseShape, max_tokens: int) -> None:
    """Raises UsageError if `max_tokens` exceeds what the base can read."""
    if base.max_positions is not None and max_tokens > base.max_positions:
        raise UsageError(
            f"--max-tokens {max_tokens} is more than base {base.name!r} can read ({base.max_positions}).",
            remedy=f"Use --max-tokens {base.max_positions} or less.",
        )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{path} cannot be read as JSON.", cause=f"{error}.") from error
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise BaseModelError(
            f"{path} names no architecture: it has no `model_type`.", remedy="Name a model's own config.json."
        )
    return values
