"""Bases with a language-model head: loaded whole and frozen; refused where the head would be random or read ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import models as m
from honed.bases import ResolvedBase, load_causal, resolve, shortened
from honed.errors import BaseModelError, UsageError


def save_causal(folder: Path, name: str) -> tuple[ResolvedBase, Any]:
    """A tiny causal model of random weights, saved; and the model itself."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(m.tiny_config(name)).eval()
    model.save_pretrained(folder)
    return resolve(str(folder)), model


@pytest.mark.parametrize("name", ["llama", "gemma3"])  # a head of its own; a head that is the embedding
def test_it_is_transformers_own_model_frozen(name: str, tmp_path: Path) -> None:
    import torch

    base, expected = save_causal(tmp_path, name)
    model: Any = load_causal(base)
    ids = torch.arange(3, 23)[None]
    assert torch.equal(model(input_ids=ids).logits, expected(input_ids=ids).logits)
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == (name == "gemma3")
    assert load_causal(base, dtype="bfloat16").lm_head.weight.dtype == torch.bfloat16
    assert len(load_causal(shortened(base, 2)).model.layers) == 2  # type: ignore[union-attr,arg-type]
    with pytest.raises(UsageError, match="int8"):
        load_causal(base, dtype="int8")


def test_a_tied_head_needs_no_weights_of_its_own_and_another_does(tmp_path: Path) -> None:
    tied: Any = load_causal(m.save_tiny_base(tmp_path / "gemma3", "gemma3"))
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    headless = m.save_tiny_base(tmp_path / "llama", "llama")
    with pytest.raises(BaseModelError, match=r"no language-model head: they lack lm_head\.weight") as caught:
        load_causal(headless)
    assert "AutoModelForCausalLM" in str(caught.value)


@pytest.mark.parametrize("name", ["bert", "modernbert", "dinov2"])
def test_a_base_that_does_not_predict_the_next_token_is_refused(name: str, tmp_path: Path) -> None:
    m.tiny_model(name, "float32").save_pretrained(tmp_path)
    with pytest.raises(BaseModelError, match="no causal language model") as caught:
        load_causal(resolve(str(tmp_path)))
    assert "gemma-3-270m" in str(caught.value)


def test_an_encoder_is_refused_even_with_a_head_that_could_be_loaded(tmp_path: Path) -> None:
    import transformers

    config = m.tiny_config("bert")
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "encoder")
    with pytest.raises(BaseModelError, match="no causal language model"):
        load_causal(resolve(str(tmp_path / "encoder")))
    config.is_decoder = True
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path / "decoder")
    assert type(load_causal(resolve(str(tmp_path / "decoder")))).__name__ == "BertLMHeadModel"
