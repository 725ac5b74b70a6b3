"""A second opinion that no attention enters: integrated gradients, computed by captum."""

from __future__ import annotations

from typing import Any

import torch

from honed.errors import UsageError
from honed.probes.subject import Batch, Subject

N_STEPS = 16


def load_captum() -> Any:
    """The module `captum.attr`.

    Raises UsageError if it is not installed.
    """
    try:
        from captum import attr
    except ImportError as error:
        raise UsageError(
            "Integrated gradients need the package captum.", remedy="pip install 'honed[attention]'"
        ) from error
    return attr


def integrated_gradients(subject: Subject, batch: Batch, target: torch.Tensor) -> torch.Tensor:
    """What each token adds to the logit of the explained class, from the blank input on: (rows, T), may be negative.

    The sum over the tokens of a row is about the logit of the input less that of its blanked form.
    target : (rows,).    Sundararajan, Taly & Yan 2017, Axiomatic Attribution for Deep Networks, arXiv:1703.01365.

    Raises UsageError if captum is not installed.
    """
    attr, task = load_captum(), subject.stack.task
    content = task.content(batch)
    blank = task.blanked(batch, content)
    settings = {"target": target, "n_steps": N_STEPS, "internal_batch_size": len(target)}
    if "pixel_values" in batch:
        method = attr.IntegratedGradients(lambda pixels: subject.logits({"pixel_values": pixels}))
        found = method.attribute(batch["pixel_values"], blank["pixel_values"], **settings).sum(dim=1)
        side = round(int(content[0].sum()) ** 0.5)
        patch = found.shape[-1] // side
        on_patches = found.view(-1, side, patch, side, patch).sum(dim=(2, 4)).flatten(1)
        result = torch.zeros(content.shape, dtype=found.dtype, device=found.device)
        result[content] = on_patches.flatten()
        return result.detach()

    def logits(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return subject.logits({"input_ids": ids, "attention_mask": mask})

    method = attr.LayerIntegratedGradients(logits, subject.stack.model.get_input_embeddings())
    words: torch.Tensor = method.attribute(
        batch["input_ids"], blank["input_ids"], additional_forward_args=(batch["attention_mask"],), **settings
    )
    return words.sum(dim=-1).detach()
