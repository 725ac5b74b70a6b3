"""The head of a language model: the loss of each row's reply, through the model's own frozen output layer.

The output layer is wide (262,144 words for Gemma 3), so no tensor of rows x tokens x words is ever made: the layer is
applied to the tokens that carry loss alone, some hundred at a time, and the gradient of a chunk is computed while its
scores are at hand. That costs two matrix products a token, as few as the sums need, and memory for one chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from honed.errors import BaseModelError
from honed.tasks.heads import Pooling, masked_mean

NO_TARGET = -100
"""In `targets`: this token carries no loss."""
_CHUNK_SCORES = 2**26
"""Scores (tokens x words) of a chunk: 256 MiB in float32."""


class LanguageHead(torch.nn.Module):
    """Loss of each row in nats per target token: (rows, 1). Nothing of it is learned.

    model : the causal language model, whose output layer it uses.

    Raises BaseModelError if the model does more with its hidden states than that layer, a scale and a soft cap.
    """

    module_names: tuple[str, ...] = ()
    own_inputs: tuple[str, ...] = ("targets",)
    reads_hidden = True

    def __init__(self, model: Any, routing: Any, pool: Pooling = masked_mean) -> None:
        super().__init__()
        self.routing, self.pool = routing, pool
        # In a tuple: the layer is the model's, so it is none of the head's parameters.
        self._output = (model.get_output_embeddings(),)
        config = model.config.get_text_config()
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        self._scale = _scale(config)
        _check_output(model, self)

    def slot_parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """None: what a slot learns is in its adapter."""
        del slot
        return {}

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the model says of every word: (n, d) -> (n, words)."""
        layer: Any = self._output[0]
        result: torch.Tensor = layer(hidden * self._scale)
        return result if self._cap is None else self._cap * torch.tanh(result / self._cap)

    def forward(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """batch["targets"] : (rows, tokens), the token itself where it carries loss, else `NO_TARGET`."""
        loss, row = self.token_losses(output.last_hidden_state, batch["targets"])
        rows = batch["targets"].shape[0]
        total = loss.new_zeros(rows).index_add(0, row, loss)
        count = torch.bincount(row, minlength=rows).clamp(min=1)
        return (total / count)[:, None]

    def token_losses(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of each target token, in the order of the rows, and the row that it stands in.

        hidden : (rows, tokens, d).    targets : (rows, tokens); token t is predicted by the state of token t - 1.
        """
        following = targets[:, 1:]
        row, place = (following != NO_TARGET).nonzero(as_tuple=True)
        states = hidden[row, place] * self._scale
        layer: Any = self._output[0]
        loss: torch.Tensor = _OutputLoss.apply(  # type: ignore[no-untyped-call]
            states, layer.weight, layer.bias, following[row, place], self._cap
        )
        return loss, row


class _OutputLoss(torch.autograd.Function):
    """-log softmax(cap(W h + b))[target] of each row of h: (n, d) -> (n,), in float32 or better.

    With e = exp(z - max z) and s = sum e, the gradient to h is e W / s - W[target]: dividing after the product saves a
    pass over the scores. W and b are frozen.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        target: torch.Tensor,
        cap: float | None,
    ) -> torch.Tensor:
        dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        loss = torch.empty(len(hidden), dtype=dtype, device=hidden.device)
        needs_grad = ctx.needs_input_grad[0]
        grad = torch.empty_like(hidden, dtype=dtype) if needs_grad else None
        step = max(1, _CHUNK_SCORES // weight.shape[0])
        for start in range(0, len(hidden), step):
            part = slice(start, start + step)
            own_target = target[None, part]
            scores = weight @ hidden[part].T  # (words, tokens): on CPUs a quarter faster than the other way round
            if bias is not None:
                scores += bias[:, None]
            scores = scores.to(dtype)
            slope = None
            if cap is not None:
                scores.div_(cap).tanh_()
                slope = 1 - scores**2 if needs_grad else None
                scores.mul_(cap)
            own = scores.gather(0, own_target)[0]
            top = scores.amax(0)
            scores.sub_(top).exp_()
            total = scores.sum(0)
            loss[part] = top + total.log() - own
            if grad is None:
                continue
            if slope is None:
                grad[part] = (scores.T.to(weight.dtype) @ weight).to(dtype) / total[:, None] - weight[target[part]]
            else:
                scores.div_(total).scatter_add_(0, own_target, -torch.ones_like(total)[None])
                grad[part] = (scores.mul_(slope).T.to(weight.dtype) @ weight).to(dtype)
        if grad is not None:
            ctx.save_for_backward(grad)
        ctx.dtype = hidden.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_outputs[0][:, None]).to(ctx.dtype), None, None, None, None


def _scale(config: Any) -> float:
    """By what the hidden states are multiplied before the output layer (Cohere says it so, Granite as a divisor)."""
    factor, divisor = getattr(config, "logit_scale", None), getattr(config, "logits_scaling", None)
    return float(factor) if factor is not None else 1 / float(divisor) if divisor else 1.0


def _check_output(model: Any, head: LanguageHead) -> None:
    """Some models scale or shift what their output layer says; then this head would train on another loss."""
    layer = head._output[0]
    problem = "it has no linear output layer"
    if isinstance(layer, torch.nn.Linear):
        first = next(iter(model.parameters()))
        ids = torch.arange(8, device=first.device)[None] % layer.weight.shape[0]
        with torch.inference_mode():
            expected = model(input_ids=ids, use_cache=False).logits.float()
            got = head.scores(model.base_model(input_ids=ids, use_cache=False).last_hidden_state).float()
        if torch.allclose(expected, got, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
            return
        problem = "its scores are more than its output layer makes of its last hidden states"
    raise BaseModelError(
        f"{type(model).__name__} cannot be trained on instructions: {problem}.",
        remedy="Choose a base such as Llama, Qwen, Gemma or Mistral.",
    )
