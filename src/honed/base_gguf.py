"""Gemma 3 270M out of the GGUF file of its mirror: once, into a folder that transformers reads like any other base.

The file holds the weights of google/gemma-3-270m rounded to 4 to 8 bits (Q4_K_M). They are dequantised by transformers
and written as float32. A GGUF file has no configuration of transformers, which is therefore written here, and no merges
of the tokenizer, which transformers recovers from the order of the vocabulary.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from honed.base_catalogue import Mirror
from honed.base_files import WEIGHTS, converted_folder
from honed.base_shape import quiet
from honed.errors import BaseModelError

_SPECIAL = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
GEMMA_3_270M_CONFIG: dict[str, Any] = {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    **_SPECIAL,
    "dtype": "float32",
    "final_logit_softcapping": None,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 640,
    "initializer_range": 0.02,
    "intermediate_size": 2048,
    "layer_types": [*["sliding_attention"] * 5, "full_attention"] * 3,
    "max_position_embeddings": 32768,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 18,
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
    "tie_word_embeddings": True,
    "use_bidirectional_attention": False,
    "use_cache": True,
    "vocab_size": 262144,
}
# A tokenizer of wrong merges works too, so one text is compared with what Gemma 3's own tokenizer makes of it.
_PROBE, _PROBE_IDS = "<start_of_turn>user\nThe capital of France is", [2, 105, 2364, 107, 818, 5279, 529, 7001, 563]


def convert_gguf(mirror: Mirror, name: str) -> Path:
    """The folder of the converted base: config.json, generation_config.json, model.safetensors, the tokenizer's files.

    name : of the folder in honed's cache; what is there already is taken as it is (its hash is checked by `bases`).

    Raises BaseModelError if the package `gguf` is missing, the file is not the one that is expected, transformers
    cannot read it, or the cache cannot be written.
    """
    return converted_folder(name, lambda folder: _write(mirror, folder))


def _write(mirror: Mirror, folder: Path) -> None:
    """Fill the folder. A bar on stderr tells that it takes a minute, where a download from the hub would show one."""
    if importlib.util.find_spec("gguf") is None:
        raise BaseModelError(f"Reading {mirror.gguf_file} needs the package gguf.", remedy=mirror.install)
    import transformers
    from huggingface_hub.utils import tqdm
    from safetensors.torch import save_file

    file, options = folder / mirror.gguf_file, {"gguf_file": mirror.gguf_file, "local_files_only": True}
    with tqdm(total=4, desc=f"Converting {file.name}, once, about a minute", unit="step") as bar, quiet():
        _assemble(mirror, file)
        bar.update()
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **options)
            bar.update()
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            bar.update()
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            raise _unread(mirror, f"{type(error).__name__}: {error}.") from error
        found = tokenizer(_PROBE)["input_ids"]
        if found != _PROBE_IDS:
            raise _unread(mirror, f"{_PROBE!r} becomes the tokens {found}, where {_PROBE_IDS} are Gemma's.")
        tokenizer.save_pretrained(folder)
        for title, content in (("config.json", GEMMA_3_270M_CONFIG), ("generation_config.json", _SPECIAL)):
            (folder / title).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items() if key != "lm_head.weight"}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})  # the head is the embedding: stored once
        file.unlink()
        bar.update()


def _unread(mirror: Mirror, cause: str) -> BaseModelError:
    import transformers

    return BaseModelError(
        f"transformers {transformers.__version__} does not read {mirror.gguf_file} as it should.",
        cause=cause,
        remedy="Upgrade both: pip install -U transformers gguf",
    )


def _assemble(mirror: Mirror, target: Path) -> None:
    """Put the GGUF file together; its parts are read from their packages, none of which is imported."""
    parts = mirror.parts()
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for part in parts:
            content = part.read_bytes()
            digest.update(content)
            file.write(content)
    if digest.hexdigest() != mirror.gguf_sha256:
        raise BaseModelError(
            f"The {len(parts)} parts of {mirror.gguf_file} are not the pinned file: sha256 {digest.hexdigest()} where "
            f"{mirror.gguf_sha256} is expected.",
            cause="A part is missing, was changed, or belongs to another version.",
            remedy=f"Install the mirror again: pip install --force-reinstall {mirror.package}=={mirror.version}",
        )
