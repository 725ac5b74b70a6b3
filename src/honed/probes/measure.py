"""Maps and curves of many rows, in chunks that fit the memory, as plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from honed.errors import UsageError
from honed.events import Emitter
from honed.probes.faithfulness import both_ends, curves, random_importance
from honed.probes.gradients import integrated_gradients
from honed.probes.maps import Explained, explain
from honed.probes.subject import Subject

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAPS = ("rollout", "relevance", "last")
N_STEPS = 6
"""Of a deletion or insertion."""
_CHUNK_BYTES = 1 << 28
_CHUNK_TOKENS = 8192


@dataclass(frozen=True)
class Encoded:
    """n rows as the task encoded them, with the tokens of each."""

    rows: Sequence[Any]
    n_tokens: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Sequence[int] | Ints) -> Encoded:
        """The rows at these positions."""
        return Encoded([self.rows[i] for i in index], self.n_tokens[np.asarray(index, dtype=np.int64)])


@dataclass(frozen=True)
class Maps:
    """Where one model looked, for n rows of at most T tokens.

    probs : (n, c).    target : (n,) the explained class, the model's own prediction unless it was given.
    heat : name of `MAPS` -> (n, T) >= 0; a row sums to 1, or is 0 throughout. NaN for tokens that are no part of the
    input: [CLS], registers, [SEP], padding.
    heads : (n, L, H, T), likewise.    special : name -> (n,) share of the map that lay on such tokens.
    prefix : (n, L) share of the attention that went to learned keys.
    """

    probs: Floats
    target: Ints
    heat: dict[str, Floats]
    heads: npt.NDArray[np.float32]
    special: dict[str, Floats]
    prefix: Floats


def measure_maps(subject: Subject, encoded: Encoded, emitter: Emitter, told: str, target: Ints | None = None) -> Maps:
    """All maps of all rows. told : what progress events say.    target : (n,) the class to explain.

    Raises BaseModelError if the attention cannot be watched, UsageError if one row alone does not fit the memory.
    """
    n, width = len(encoded), int(encoded.n_tokens.max())
    found: Maps | None = None
    done = 0
    for rows in _chunks(encoded.n_tokens, _rows_at_once(subject, width)):
        batch, content = _collated(subject, encoded, rows)
        wanted = None if target is None else torch.from_numpy(target[rows]).to(content.device)
        part = explain(subject, batch, wanted)
        found = found or _blank(n, width, part)
        _put(found, rows, part, content)
        done += len(rows)
        emitter.emit("progress", told, done=done, total=n, unit="row")
    assert found is not None, "there are always rows"
    for name, heat in found.heat.items():
        if n_empty := int((np.nansum(heat, axis=1) == 0).sum()):
            emitter.emit("warning", f"{n_empty} of {n} rows have no map ({told}, {name}): it is 0 or not finite.")
    return found


def measure_gradients(subject: Subject, encoded: Encoded, target: Ints, emitter: Emitter) -> Floats:
    """Integrated gradients, what speaks for the class alone: (n, T) as `Maps.heat`.

    Raises UsageError if captum is not installed.
    """
    n, width = len(encoded), int(encoded.n_tokens.max())
    heat = np.full((n, width), np.nan)
    done = 0
    for rows in _chunks(encoded.n_tokens, max(1, 1024 // width)):
        batch, content = _collated(subject, encoded, rows)
        found = integrated_gradients(subject, batch, torch.from_numpy(target[rows]).to(content.device))
        heat[rows, : content.shape[1]] = _on_content(found.clamp(min=0), content)[0]
        done += len(rows)
        emitter.emit("progress", "integrated gradients", done=done, total=n, unit="row")
    return heat


def measure_curves(
    subject: Subject, encoded: Encoded, heat: Mapping[str, Floats | None], target: Ints, emitter: Emitter
) -> dict[str, tuple[Floats, Floats]]:
    """Deletion and insertion, (n, N_STEPS + 1) each, of every map. heat : name -> (n, T); None: an order by chance."""
    n, done = len(encoded), 0
    found = {name: (np.empty((n, N_STEPS + 1)), np.empty((n, N_STEPS + 1))) for name in heat}
    for rows in _chunks(encoded.n_tokens, max(1, _CHUNK_TOKENS // int(encoded.n_tokens.max()))):
        batch, content = _collated(subject, encoded, rows)
        wanted = torch.from_numpy(target[rows]).to(content.device)
        ends = both_ends(subject, batch, wanted)
        for name, own in heat.items():
            if own is None:
                order = random_importance(content.shape[1], rows.tolist(), content.device)
            else:
                order = torch.from_numpy(np.nan_to_num(own[rows, : content.shape[1]])).to(content.device)
            both = curves(subject, batch, wanted, order, ends, N_STEPS)
            deletion, insertion = found[name]
            deletion[rows], insertion[rows] = both.deletion.cpu().numpy(), both.insertion.cpu().numpy()
        done += len(rows)
        emitter.emit("progress", "deletion and insertion", done=done, total=n, unit="row")
    return found


def _collated(subject: Subject, encoded: Encoded, rows: Ints) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    stack = subject.stack
    batch = stack.to_model(stack.task.collate([encoded.rows[i] for i in rows]))
    return batch, stack.task.content(batch)


def _chunks(n_tokens: Ints, n_rows: int) -> Iterator[Ints]:
    """Positions in chunks of rows of like length."""
    order = np.argsort(n_tokens, kind="stable")
    for start in range(0, len(order), n_rows):
        yield order[start : start + n_rows]


def _rows_at_once(subject: Subject, width: int) -> int:
    """How many rows a chunk may hold: probabilities, their gradients, and what the backward pass keeps of them."""
    stack = subject.stack
    heads = int(stack.model.config.get_text_config().num_attention_heads)
    row = 4 * len(stack.layers) * heads * width * width * max(stack.dtype.itemsize, 4)
    if row > psutil.virtual_memory().available:
        raise UsageError(
            f"The attention of one row of {width} tokens takes {row / 1e9:.1f} GB, more than is free.",
            cause="Attention of every head of every layer is kept at once, with its gradient.",
            remedy="Close other programs, or train with a smaller --image-size or --max-tokens.",
        )
    return max(1, _CHUNK_BYTES // int(row))


def _blank(n: int, width: int, part: Explained) -> Maps:
    _, n_layers, n_heads, _ = part.heads.shape
    return Maps(
        probs=np.empty((n, part.probs.shape[1])),
        target=np.empty(n, dtype=np.int64),
        heat={name: np.full((n, width), np.nan) for name in MAPS},
        heads=np.full((n, n_layers, n_heads, width), np.nan, dtype=np.float32),
        special={name: np.empty(n) for name in MAPS},
        prefix=np.empty((n, n_layers)),
    )


def _put(maps: Maps, rows: Ints, part: Explained, content: torch.Tensor) -> None:
    width = content.shape[1]
    maps.probs[rows] = part.probs.cpu().numpy()
    maps.target[rows] = part.target.cpu().numpy()
    maps.prefix[rows] = part.prefix.cpu().numpy()
    for name in MAPS:
        heat, on_special = _on_content(getattr(part, name), content)
        maps.heat[name][rows, :width] = heat
        maps.special[name][rows] = on_special
    maps.heads[rows, :, :, :width] = _on_content(part.heads, content[:, None, None])[0]


def _on_content(heat: torch.Tensor, content: torch.Tensor) -> tuple[Floats, Floats]:
    """A map (..., T) scaled to sum 1 over the content, NaN elsewhere; and the share that lay elsewhere, (...).

    A map that is not finite becomes 0 throughout.
    """
    whole = heat.double()
    whole = torch.where(whole.isfinite().all(dim=-1, keepdim=True), whole, 0.0)
    inside = whole.masked_fill(~content, 0.0)
    total, own = whole.sum(dim=-1), inside.sum(dim=-1, keepdim=True)
    scaled = (inside / own.clamp(min=1e-300)).masked_fill(~content, torch.nan)
    special = torch.where(total > 0, 1 - own[..., 0] / total.clamp(min=1e-300), torch.zeros_like(total))
    return scaled.cpu().numpy(), special.clamp(0, 1).cpu().numpy()
