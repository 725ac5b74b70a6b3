"""A tiny language model of random weights as a base, and conversations that it can learn: what runs on it is fast."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from honed.bases import ResolvedBase, load_tokenizer, resolve
from honed.data.chat_template import template_of
from honed.data.conversations import Conversation, Message
from honed.data.preferences import Preference
from honed.methods.base import get_method
from honed.training.build import StackSpec, build_stack, encode, row_weights, with_reference
from honed.training.loop import Examples
from honed.training.stack import Inputs, Stack
from honed.training.trunk import TrunkCache

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
        "vocab_size": len(SPECIAL) + len(alphabet), "hidden_size": 32, "num_attention_heads": 4,
        "intermediate_size": 64, "num_key_value_heads": 2, "num_hidden_layers": 3, "max_position_embeddings": 2048,
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
        {
            "instruction": f"Where is the {colour} {thing} number {i}?",
            "input": "",
            "output": f"The {thing} is {colour}.",
        }
        for colour, thing, i in pairs
    ]


def write_rows(path: Path, some: list[dict[str, str]] | None = None) -> Path:
    """The rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in some or rows()), encoding="utf-8")
    return path


@cache
def tiny_base(name: str) -> ResolvedBase:
    """One base a test process; nobody writes to it."""
    return save_causal_base(Path(mkdtemp()), name)


def conversations(n: int = 18) -> list[Conversation]:
    """The rows as conversations."""
    return [Conversation((Message("user", row["instruction"]), Message("assistant", row["output"]))) for row in rows(n)]


def language_stack(
    name: str, seeds: Sequence[int], *, method: str = "lora", depth: int | str = 2, dtype: str = "float64",
    train_on: str = "responses", **options: Any,
) -> Stack:  # fmt: skip
    """A stack of one slot a seed over a tiny causal model."""
    base = tiny_base(name)
    reading = {"template": template_of(load_tokenizer(base)).to_json(), "max_tokens": 256, "train_on": train_on}
    own = get_method(method).options(**options)
    spec = StackSpec(method, own, "language", depth, ("reply",), 256, dtype, "cpu", task="instruction", reading=reading)
    return build_stack(base, spec, seeds)


def preferences(n: int = 18) -> list[Preference]:
    """Pairs: the reply of the row was chosen; one of another wording, longer or shorter, was rejected."""
    rejected = ("I do not know.", "Look for it yourself, please.", "{} {}")
    return [
        Preference(row.messages, rejected[i % 3].format(COLOURS[i % 4], THINGS[i % 10]))
        for i, row in enumerate(conversations(n))
    ]


def preference_stack(
    base: str | ResolvedBase, seeds: Sequence[int], *, method: str = "lora", depth: int | str = 2,
    dtype: str = "float64", beta: float = 0.1,
) -> Stack:  # fmt: skip
    """A stack of one slot a seed that learns preferences."""
    found = tiny_base(base) if isinstance(base, str) else base
    template = template_of(load_tokenizer(found)).to_json()
    reading = {"template": template, "max_tokens": 256, "train_on": "responses", "beta": beta}
    own = get_method(method).options()
    spec = StackSpec(
        method, own, "preference", depth, ("reply",), 256, dtype, "cpu", task="preference", reading=reading
    )  # fmt: skip
    return build_stack(found, spec, seeds)


def preference_inputs(stack: Stack, trunk: TrunkCache | None, n: int = 6) -> Inputs:
    """Pairs, with what the frozen base says of them."""
    return with_reference(stack, encode(stack, preferences(n)), trunk)


def language_examples(stack: Stack, n: int = 18, n_folds: int = 5) -> Examples:
    """Rows whose folds are as those of `models.make_examples`."""
    inputs = encode(stack, conversations(n))
    return Examples(
        inputs, np.zeros(n, dtype=np.int64), row_weights(stack, inputs), (np.arange(n) // 3) % n_folds, np.arange(n)
    )
