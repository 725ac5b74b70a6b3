"""The head of preference tuning: by how much more than the base a model favours each of two replies.

The implicit reward of a reply y to x is beta * (log p(y | x) - log p_base(y | x)). A pair is won if the chosen reply
has the higher one, so a pair is a row of two classes whose logits are the rewards: the cross-entropy of "chosen" is
-log sigmoid(r_chosen - r_rejected), the loss of direct preference optimization (DPO; Rafailov et al. 2023, equation 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from honed.tasks.heads import Pooling, masked_mean
from honed.tasks.language_head import LanguageHead


class PreferenceHead(LanguageHead):
    """Implicit rewards of chosen and rejected reply: (pairs, 2), in nats times beta. Nothing of it is learned.

    beta : how dearly a step away from the base is bought; the larger, the closer the specialist stays.
    """

    own_inputs: tuple[str, ...] = ("targets", "reference")

    def __init__(self, model: Any, routing: Any, pool: Pooling = masked_mean, *, beta: float) -> None:
        super().__init__(model, routing, pool)
        self.beta = beta

    def forward(self, output: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """batch : "targets" (2 * pairs, tokens) as for `LanguageHead`, chosen and rejected one after the other;
        "reference" (2 * pairs,) the base's log-likelihood of each reply.
        """
        loss, row = self.token_losses(output.last_hidden_state, batch["targets"])
        reference = batch["reference"].to(loss)
        likelihood = loss.new_zeros(len(reference)).index_add(0, row, -loss)
        return self.beta * (likelihood - reference).view(-1, 2)
