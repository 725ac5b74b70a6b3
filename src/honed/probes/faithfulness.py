"""What a map is worth: the model's own answer as the tokens that the map calls important go, or come.

Deletion blanks the tokens of an input one part after another, the most important first; insertion begins with nothing
but blanks and brings them back. A map that says where the model looks makes the probability of the explained class
fall early and rise early: Petsiuk et al. 2018, RISE, arXiv:1806.07421.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from honed.probes.subject import Batch, Subject


@dataclass(frozen=True)
class Curves:
    """Probability of the explained class as 0, 1/s, ... 1 of the tokens are deleted, or inserted: (rows, s + 1)."""

    deletion: torch.Tensor
    insertion: torch.Tensor


def curves(
    subject: Subject,
    batch: Batch,
    target: torch.Tensor,
    importance: torch.Tensor,
    ends: tuple[torch.Tensor, torch.Tensor],
    n_steps: int,
) -> Curves:
    """Both curves of one map.

    target : (rows,).    importance : (rows, T); ties go by the order of the tokens.    ends : of `both_ends`.
    """
    task = subject.stack.task
    content = task.content(batch)
    rank = _ranks(importance, content)
    n_content = content.sum(dim=1, keepdim=True)
    deleted, inserted = [ends[0]], [ends[1]]
    for step in range(1, n_steps):
        first = content & (rank < (n_content * step / n_steps).round())
        deleted.append(subject.probability(task.blanked(batch, first), target))
        inserted.append(subject.probability(task.blanked(batch, content & ~first), target))
    return Curves(torch.stack([*deleted, ends[1]], dim=1), torch.stack([*inserted, ends[0]], dim=1))


def both_ends(subject: Subject, batch: Batch, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What all curves of a batch begin and end with: the probability of the whole input, and of the blank one."""
    task = subject.stack.task
    return subject.probability(batch, target), subject.probability(task.blanked(batch, task.content(batch)), target)


def random_importance(n_tokens: int, seeds: list[int], device: torch.device) -> torch.Tensor:
    """An order by chance for each row, the same for every model: (rows, T)."""
    drawn = [torch.rand(n_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn).to(device)


def _ranks(importance: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """The place of each token among the content, 0 for the most important: (rows, T)."""
    order = importance.masked_fill(~content, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1)
