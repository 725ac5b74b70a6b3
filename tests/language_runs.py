"""A tiny language model of random weights as a base, and conversations that it can learn: what runs on it is fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from honed.bases import ResolvedBase, resolve

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
COLOURS = ("red", "green", "blue", "white")
THINGS = ("door", "cup", "tree", "hat", "boat", "lamp", "shoe", "bell", "book", "fish")


def save_causal_base(folder: Path, name: str = "llama", *, template: str | None = CHATML) -> ResolvedBase:
    """A causal model of width 32 that reads bytes; `template` None: it has no chat template."""
    import torch
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = {byte: i for i, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), start=len(SPECIAL))}
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(SPECIAL)} | alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    special = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=False))
    fast: Any = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    fast.chat_template = template
    shape: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(alphabet), "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64,
        "num_key_value_heads": 2, "num_hidden_layers": 3, "max_position_embeddings": 2048,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    if name == "gemma3":
        kinds = ["sliding_attention", "full_attention", "sliding_attention"]
        config: Any = transformers.Gemma3TextConfig(**shape, head_dim=8, sliding_window=8, layer_types=kinds)
    else:
        config = transformers.LlamaConfig(**shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return resolve(str(folder))


def rows(n: int = 40) -> list[dict[str, str]]:
    """Alpaca rows: the reply repeats the colour and the thing of the question."""
    pairs = [(COLOURS[i % 4], THINGS[(i // 4) % 10], i) for i in range(n)]
    return [
        {"instruction": f"Where is the {colour} {thing} number {i}?", "input": "", "output": f"The {thing} is {colour}."}
        for colour, thing, i in pairs
    ]


def write_rows(path: Path, some: list[dict[str, str]] | None = None) -> Path:
    """The rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in some or rows()), encoding="utf-8")
    return path
