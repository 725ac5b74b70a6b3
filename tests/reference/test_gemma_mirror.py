"""Gemma 3 270M out of its mirror's GGUF file: what transformers itself loads from that file, to the bit; it speaks."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from honed import base_gguf
from honed.base_catalogue import BASES
from honed.base_shape import quiet
from honed.bases import ResolvedBase, load_causal, load_tokenizer, resolve

SPEC = BASES["gemma-3-270m"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SPEC.mirror.parts(), reason="NOT RUN: needs pip install 'honed[gemma]'"),
]
# Written for this test: no model has seen it.
PROSE = (
    "The museum opened its doors on a rainy Tuesday morning, and by noon the queue reached around the corner. Visitors "
    "had come from neighbouring towns to see the restored paintings, which had been hidden in a basement for more than "
    "sixty years. The curator, a quiet woman of fifty, explained that the work had taken four conservators nearly "
    "a decade. Most of the damage came from damp, she said, but some of it was older: a careless cleaning in the "
    "nineteenth century had removed parts of the varnish. Children drew copies of the portraits at a long table near "
    "the window, while their parents argued about which of the two landscapes was the better one."
)
TEXTS = (
    PROSE,
    "  two  spaces\t tab\n\n\nlines ",
    "Ünïcode 漢字 😀 🏳️‍🌈 \u200b १२३ عربى",
    "<b>x</b> def f(x):\n    return x**2",
    "\x00\x07",
)


@pytest.fixture(scope="module")
def base() -> ResolvedBase:
    """The converted base; its hash is checked at every resolution."""
    return resolve("gemma-3-270m")


@pytest.fixture(scope="module")
def model(base: ResolvedBase) -> Any:
    return load_causal(base)


@pytest.fixture(scope="module")
def tokenizer(base: ResolvedBase) -> Any:
    return load_tokenizer(base)


def test_it_is_the_pinned_base_and_the_pretrained_one(base: ResolvedBase) -> None:
    assert (base.source, base.architecture, base.n_layers) == ("mirror", "Gemma3TextModel", 18)
    assert (base.n_parameters, base.max_positions) == (SPEC.n_parameters, 32768)
    found = hashlib.sha256((base.path / "model.safetensors").read_bytes()).hexdigest()
    assert found == SPEC.mirror.converted_sha256
    names = {path.name for path in base.path.iterdir()}
    files = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names == files  # no chat template: the instruction-tuned model (-it) has one


def test_equal_to_what_transformers_loads_from_the_file(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="NOT RUN: needs pip install 'honed[gemma]'")
    import torch
    import transformers

    base_gguf._assemble(SPEC.mirror, tmp_path / "x.gguf")
    with quiet():
        own = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="x.gguf", dtype="float32").eval()
        own_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="x.gguf")
    ids = tokenizer(PROSE * 5, return_tensors="pt")["input_ids"]
    assert ids.shape[1] > 512  # beyond the sliding window
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, own(input_ids=ids).logits)
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == own_tokenizer(text)["input_ids"]
    assert tokenizer.get_vocab() == own_tokenizer.get_vocab()


def test_the_tokenizer_keeps_gemmas_special_tokens_and_every_text(base: ResolvedBase, tokenizer: Any) -> None:
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    assert tokenizer.convert_tokens_to_ids(["<start_of_turn>", "<end_of_turn>"]) == [105, 106]
    turn = "<start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n"
    assert tokenizer(turn)["input_ids"] == [2, 105, 2364, 107, 9259, 106, 107, 105, 4368, 107]
    for text in TEXTS:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    generation = json.loads((base.path / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}


def test_it_speaks_english(model: Any, tokenizer: Any) -> None:
    import torch

    tokens = tokenizer(PROSE, return_tensors="pt")
    with torch.no_grad():
        loss = float(model(**tokens, labels=tokens["input_ids"]).loss)
        assert 15 < math.exp(loss) < 40  # a model of this size on prose; a wrong norm or scale gives thousands
        question = "The capital of Germany is Berlin. The capital of Italy is Rome. The capital of France is"
        ids = model.generate(**tokenizer(question, return_tensors="pt"), max_new_tokens=2, do_sample=False)
    assert tokenizer.decode(ids[0], skip_special_tokens=True).removeprefix(question).startswith(" Paris")
