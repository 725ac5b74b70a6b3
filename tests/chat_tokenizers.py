"""Tiny tokenizers with the chat templates of real families, trained here on a few sentences."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n'"
    " + (first if loop.first else '') }}{{ m['content'] | trim }}{{ '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
SPECIAL = {
    "gemma": ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
    "chatml": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    "llama": ("<unk>", "<s>", "</s>"),
    "plain": ("<|endoftext|>",),
}
TEMPLATES = {"gemma": GEMMA, "chatml": CHATML, "llama": LLAMA, "plain": None}
FAMILIES = tuple(TEMPLATES)
_CORPUS = [
    "How much water should a person drink in a day? About two litres, more when it is hot.",
    "user model assistant system [INST] [/INST] ### User: ### Assistant:\n\n### System:\n",
    "Name three colours. Red, green and blue.\n\n\nThe capital of France is Paris; that of Italy is Rome.",
]


@cache
def _backend(family: str) -> str:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = list(SPECIAL[family])
    is_byte_level = family in ("chatml", "plain")
    backend = Tokenizer(models.BPE(unk_token=None if is_byte_level else special[0], byte_fallback=not is_byte_level))
    if is_byte_level:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        # as the real ones do: Llama 2 begins every text with a blank, Gemma does not
        steps = [normalizers.Prepend("▁")] if family == "llama" else []
        backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # no token spans two words
        backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special += [f"<0x{i:02X}>" for i in range(256)]
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_CORPUS * 3, trainer)
    if family in ("gemma", "llama"):
        bos = "<bos>" if family == "gemma" else "<s>"
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    stored = json.loads(backend.to_str())  # the bytes are in the vocabulary, and no control tokens
    stored["added_tokens"] = [token for token in stored["added_tokens"] if not token["content"].startswith("<0x")]
    return json.dumps(stored)


def chat_tokenizer(family: str, template: str | None = None) -> Any:
    """A new tokenizer of a family. template : in place of the family's own."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    names = {
        "gemma": {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>"},
        "chatml": {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
        "llama": {"unk_token": "<unk>", "pad_token": "<unk>", "eos_token": "</s>", "bos_token": "<s>"},
        "plain": {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"},
    }[family]
    more = [name for name in SPECIAL[family] if name not in names.values()]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend(family)), extra_special_tokens=more, **names
    )
    tokenizer.chat_template = template or TEMPLATES[family]
    return tokenizer
