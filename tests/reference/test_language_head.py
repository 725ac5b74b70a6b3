"""The loss of replies against transformers' own, and its gradient against plain autograd over the whole matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

import models as m
from honed.errors import BaseModelError
from honed.routing import Routing
from honed.tasks import language_head
from honed.tasks.language_head import NO_TARGET, LanguageHead
from tolerances import tolerance


def causal(name: str, dtype: str = "float64") -> Any:
    """A tiny causal model; `gemma2` caps its scores, `granite` divides them."""
    import transformers

    if name == "gemma2":
        config: Any = transformers.Gemma2Config(
            vocab_size=60, hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=64,
            num_key_value_heads=2, head_dim=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            final_logit_softcapping=2.0,
        )  # fmt: skip
    elif name == "granite":
        config = transformers.GraniteConfig(
            vocab_size=60, hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=64,
            num_key_value_heads=2, logits_scaling=8.0, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
    else:
        config = m.tiny_config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = transformers.AutoModelForCausalLM.from_config(config)
        torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.5)  # scores far enough apart to be told
    return model.to(getattr(torch, dtype)).eval().requires_grad_(False)


def batch_of(n_rows: int = 5) -> dict[str, torch.Tensor]:
    """Rows of different lengths, some tokens of which carry loss."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 60, (n_rows, 9), generator=generator)
    length = torch.tensor([9, 7, 5, 9, 3])
    mask = (torch.arange(9)[None] < length[:, None]).long()
    targets = torch.where((torch.arange(9)[None] >= 2) & mask.bool(), ids, NO_TARGET)
    return {"input_ids": ids * mask, "attention_mask": mask, "targets": targets}


@pytest.mark.parametrize("name", ["llama", "gemma3", "gemma2", "granite"])
def test_the_loss_is_that_of_transformers(name: str) -> None:
    model, batch = causal(name, "float32"), batch_of()
    head = LanguageHead(model, Routing())
    read = {key: batch[key] for key in ("input_ids", "attention_mask")}
    got = head(model.base_model(**read), batch)[:, 0]
    each = [
        model(**{key: value[i : i + 1] for key, value in read.items()}, labels=batch["targets"][i : i + 1]).loss
        for i in range(5)
    ]
    torch.testing.assert_close(got, torch.stack(each), **tolerance("logits_same_weights", "float32"))
    whole = model(**read, labels=batch["targets"]).loss  # the mean over all tokens
    count = (batch["targets"][:, 1:] != NO_TARGET).sum(1)
    mean = (got * count).sum() / count.sum()
    torch.testing.assert_close(mean, whole, **tolerance("logits_same_weights", "float32"))


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunked_is_unchunked_in_loss_and_gradient(
    chunk: int, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_head, "_CHUNK_SCORES", chunk * 50)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 8, generator=generator, dtype=torch.float64)
    bias = torch.randn(50, generator=generator, dtype=torch.float64)
    target = torch.randint(50, (7,), generator=generator)
    hidden, other = (torch.randn(7, 8, generator=generator.manual_seed(1), dtype=torch.float64) for _ in range(2))
    hidden.requires_grad_(True), other.requires_grad_(True)
    upstream = torch.linspace(-1, 2, 7, dtype=torch.float64)
    loss = language_head._OutputLoss.apply(hidden, weight, bias, target, cap)
    (loss * upstream).sum().backward()
    scores = functional.linear(other, weight, bias)
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    expected = functional.cross_entropy(scores, target, reduction="none")
    (expected * upstream).sum().backward()
    torch.testing.assert_close(loss, expected.detach(), **tolerance("logits_same_weights", "float64"))
    torch.testing.assert_close(hidden.grad, other.grad, **tolerance("logits_same_weights", "float64"))


def test_a_model_that_does_more_with_its_scores_is_refused() -> None:
    model = causal("llama", "float32")
    scores = model.forward
    model.forward = lambda **inputs: shifted(scores(**inputs))
    with pytest.raises(BaseModelError, match=r"cannot be trained on instructions"):
        LanguageHead(model, Routing())


def shifted(output: Any) -> Any:
    """What a model says that adds a bonus for the first words."""
    output.logits = output.logits + torch.arange(60) / 10
    return output
