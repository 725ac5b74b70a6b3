"""The learned keys and values of a layer, one set a slot, and where they are put into a model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from honed.errors import UsageError
from honed.methods.base import Adapters, Host, site_seed
from honed.methods.prefix import LIKE_PEFT, UNLIKE_PEFT, PrefixOptions
from honed.methods.prefix_attention import ATTRIBUTE, RowPrefix, route_attention, shift_positions
from honed.routing import Routing, Segment

MLP_RATE = 1 / 30
"""Share of the learning rate at which the MLP learns: it did not learn at the rates that suit free keys and values.

AdamW's steps do not depend on a parameter's scale: weights that are kept 30 times larger move as at 1/30 of the rate.
"""


@dataclass(frozen=True)
class KeyShape:
    """Of the keys (and values) of one attention module."""

    heads: int
    head_size: int

    @property
    def width(self) -> int:
        """Numbers a token has in its key and its value."""
        return 2 * self.heads * self.head_size

    def check(self, key: torch.Tensor, value: torch.Tensor) -> None:
        """Raises UsageError if keys and values (rows, heads, tokens, head size) are not shaped so."""
        if {(t.shape[1], t.shape[3]) for t in (key, value)} != {(self.heads, self.head_size)}:
            raise UsageError(
                f"Prefix tuning expected keys and values of {self.heads} heads of {self.head_size} "
                f"numbers, but the attention has {tuple(key.shape[1::2])} and {tuple(value.shape[1::2])}.",
                remedy="Use another method for this base.",
            )


class Learned(torch.nn.Module):
    """One slot's keys and values in one layer: a free matrix (tokens, 2 * heads * head size), keys first."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.key_value = torch.nn.Parameter(start)

    def forward(self) -> torch.Tensor:
        """(tokens, 2 * heads * head size)."""
        return self.key_value


class Mlp(torch.nn.Module):
    """What the layers of one reparameterised slot share: an embedding of the tokens and the MLP's hidden layer."""

    def __init__(self, embedding: torch.Tensor, weight: torch.Tensor) -> None:
        super().__init__()
        self.embedding = torch.nn.Parameter(embedding / MLP_RATE)
        self.hidden_weight = torch.nn.Parameter(weight / MLP_RATE)
        self.hidden_bias = torch.nn.Parameter(weight.new_zeros(len(weight)))


class Projected(torch.nn.Module):
    """One slot's keys and values in one layer: W tanh(H e + h) + b for each embedding e (Li & Liang 2021, eq. 3)."""

    def __init__(self, mlp: Mlp, weight: torch.Tensor) -> None:
        super().__init__()
        self.mlp = mlp
        self.weight = torch.nn.Parameter(weight / MLP_RATE)
        self.bias = torch.nn.Parameter(weight.new_zeros(len(weight)))

    def forward(self) -> torch.Tensor:
        """(tokens, 2 * heads * head size)."""
        mlp = self.mlp
        return projected(mlp.embedding, (mlp.hidden_weight, mlp.hidden_bias), (self.weight, self.bias))


Pair = tuple[torch.Tensor, torch.Tensor]


def projected(embedding: torch.Tensor, hidden: Pair, out: Pair) -> torch.Tensor:
    """The MLP: embedding (tokens, e), weights and biases of its two layers -> (tokens, 2 * heads * head size).

    All of them come 1 / MLP_RATE times larger than they are meant.
    """
    embedding, weight, bias, out_weight, out_bias = (t * MLP_RATE for t in (embedding, *hidden, *out))
    return functional.linear(torch.tanh(functional.linear(embedding, weight, bias)), out_weight, out_bias)


def flattened(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a reparameterised slot as that of a plain one with the same keys and values."""
    stem = next(iter(state)).partition(".")[0]
    embedding, weight, bias = (state[f"{stem}.mlp.{name}"] for name in ("embedding", "hidden_weight", "hidden_bias"))
    layers = [name.split(".")[1] for name in state if name.endswith(".weight")]
    return {
        f"{stem}.{i}.key_value": projected(
            embedding, (weight, bias), (state[f"{stem}.{i}.weight"], state[f"{stem}.{i}.bias"])
        )
        for i in layers
    }


class SlotPrefix(torch.nn.Module):
    """The prefixes of one attention module, one a slot; slots may have different numbers of tokens."""

    def __init__(self, routing: Routing, shape: KeyShape, slots: Sequence[Learned | Projected]) -> None:
        super().__init__()
        self.routing = routing
        self.shape = shape
        # No ModuleList: a long one would be taken for the model's layers.
        self.slots = torch.nn.ModuleDict({str(slot): own for slot, own in enumerate(slots)})

    def for_rows(self, key: torch.Tensor, value: torch.Tensor) -> RowPrefix | None:
        """The prefix of each row as the routing says, None if no row has one.

        key, value : (rows, heads, tokens, head size) of the batch.
        Raises UsageError if they are not shaped as the model's configuration says.
        """
        self.shape.check(key, value)
        only, segments = self.routing.only, self.routing.segments
        if only is not None:
            k, v = self._key_value(only, key)
            return RowPrefix(k.expand(key.shape[0], -1, -1, -1), v.expand(key.shape[0], -1, -1, -1), None)
        if not segments:
            return None
        own = [self._key_value(s.slot, key) for s in segments]
        n_tokens = max(k.shape[2] for k, _ in own)
        first = [n_tokens] * key.shape[0]  # rows of no segment see nothing of it
        for s, (k, _) in zip(segments, own, strict=True):
            first[s.start : s.stop] = [n_tokens - k.shape[2]] * (s.stop - s.start)
        return RowPrefix(
            _rows(segments, [k for k, _ in own], n_tokens, key.shape[0]),
            _rows(segments, [v for _, v in own], n_tokens, key.shape[0]),
            torch.tensor(first, device=key.device) if any(first) else None,
        )

    def _key_value(self, slot: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, each (1, heads, tokens, head size), in the precision of the base."""
        flat = self.slots[str(slot)]().to(like.dtype)
        key, value = flat.view(len(flat), 2, self.shape.heads, self.shape.head_size).permute(1, 2, 0, 3)
        return key.unsqueeze(0), value.unsqueeze(0)


def _rows(segments: Sequence[Segment], parts: Sequence[torch.Tensor], n_tokens: int, n_rows: int) -> torch.Tensor:
    """One part for each row of its segment, filled up with zeros on the left: (rows, heads, tokens, head size).

    parts : (1, heads, tokens of the slot, head size), one a segment. Rows of no segment are zero.
    """
    nothing = parts[0].new_zeros(1, parts[0].shape[1], n_tokens, parts[0].shape[3])
    pieces, done = [], 0
    for s, part in zip(segments, parts, strict=True):
        whole = functional.pad(part, (0, 0, n_tokens - part.shape[2], 0))
        pieces += [nothing.expand(s.start - done, -1, -1, -1), whole.expand(s.stop - s.start, -1, -1, -1)]
        done = s.stop
    return torch.cat([*pieces, nothing.expand(n_rows - done, -1, -1, -1)])


class PrefixAdapters(Adapters):
    """The prefixes of the adapted layers by the layer's number. stem : first part of all names."""

    def __init__(self, prefixes: dict[int, SlotPrefix], sites: tuple[str, ...], stem: str) -> None:
        self.sites = sites
        self._prefixes, self._stem = prefixes, stem

    def parameters(self, slot: int) -> dict[str, torch.nn.Parameter]:
        """`<stem>.<layer>.<name>`, and `<stem>.mlp.<name>` for what the layers share."""
        return {
            f"{self._stem}.{name if name.startswith('mlp.') else f'{i}.{name}'}": parameter
            for i, prefix in self._prefixes.items()
            for name, parameter in prefix.slots[str(slot)].named_parameters()
        }


def install(host: Host, seeds: Sequence[int], options: Sequence[PrefixOptions]) -> PrefixAdapters:
    """Give every adapted layer its prefixes and let the model's attention use them."""
    found = [attention_of(path, layer) for path, layer in host.adapted]
    sites, attention = tuple(path for path, _ in found), [module for _, module in found]
    shapes = [key_shape(module) for module in attention]
    first = next(host.adapted[0][1].parameters())
    # As with LoRA: what is learned over a half-precision base is kept in float32.
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    route_attention(host.model, attention)
    mlps = [_mlp(seed, own, shapes[0]) for seed, own in zip(seeds, options, strict=True)]
    prefixes = {}
    for i, (path, module) in enumerate(found):
        slots = [
            _slot(site_seed(seed, path), own, shapes[i], mlp)
            for seed, own, mlp in zip(seeds, options, mlps, strict=True)
        ]
        prefixes[host.cut + i] = SlotPrefix(host.routing, shapes[i], slots).to(first.device, dtype)
        module.add_module(ATTRIBUTE, prefixes[host.cut + i])
    like_peft = is_like_peft(host, attention, shapes)
    if like_peft:
        shift_positions(host.backbone, partial(_prefix_tokens, host.routing, [own.tokens for own in options]))
    return PrefixAdapters(prefixes, sites, LIKE_PEFT if like_peft else UNLIKE_PEFT)


def attention_of(layer_path: str, layer: torch.nn.Module) -> tuple[str, Any]:
    """Path and module of a layer's self-attention: transformers marks what calls its attention interface so."""
    found = [(name, module) for name, module in layer.named_modules() if hasattr(module, "is_causal")]
    if len(found) != 1 or not hasattr(found[0][1], "config"):
        raise UsageError(
            f"Prefix tuning found no single self-attention of transformers' attention interface in {layer_path} "
            f"({type(layer).__name__}).",
            cause=f"It has {len(found)} attention modules.",
            remedy="Use another method for this base.",
        )
    return f"{layer_path}.{found[0][0]}".rstrip("."), found[0][1]


def key_shape(module: Any) -> KeyShape:
    """Of the keys that a module of transformers computes."""
    heads = module.config.num_attention_heads
    size = getattr(module, "head_dim", None) or getattr(module, "attention_head_size", None)
    return KeyShape(heads // getattr(module, "num_key_value_groups", 1), size or module.config.hidden_size // heads)


def is_like_peft(host: Host, attention: Sequence[Any], shapes: Sequence[KeyShape]) -> bool:
    """Whether what is learned here is what PEFT's prefix tuning computes."""
    return host.cut == 0 and len(set(shapes)) == 1 and _is_decoder(host, attention)


def _prefix_tokens(routing: Routing, n_tokens: Sequence[int], n_rows: int) -> list[int] | None:
    if routing.only is not None:
        return [n_tokens[routing.only]]
    if not routing.segments:
        return None
    own = [0] * n_rows
    for s in routing.segments:
        own[s.start : s.stop] = [n_tokens[s.slot]] * (s.stop - s.start)
    return own


def _is_decoder(host: Host, attention: Sequence[Any]) -> bool:
    """Whether the model attends as PEFT's prefix tuning takes for granted."""
    config = attention[0].config
    return (
        all(module.is_causal for module in attention)
        and "position_ids" in inspect.signature(host.backbone.forward).parameters
        and {"full_attention", "sliding_attention"}.issuperset(getattr(config, "layer_types", None) or ())
        and not getattr(config, "num_kv_shared_layers", 0)
    )


def _mlp(seed: int, options: PrefixOptions, shape: KeyShape) -> Mlp | None:
    if not options.reparameterise:
        return None
    generator = torch.Generator().manual_seed(site_seed(seed, "mlp"))
    width = shape.width // 2
    embedding = torch.empty(options.tokens, width).normal_(generator=generator)
    return Mlp(embedding, _uniform(options.hidden_size, width, generator))


def _slot(seed: int, options: PrefixOptions, shape: KeyShape, mlp: Mlp | None) -> Learned | Projected:
    generator = torch.Generator().manual_seed(seed)
    if mlp is not None:
        return Projected(mlp, _uniform(shape.width, options.hidden_size, generator))
    return Learned(torch.empty(options.tokens, shape.width).normal_(0, options.init_std, generator=generator))


def _uniform(n_out: int, n_in: int, generator: torch.Generator) -> torch.Tensor:
    """Weights (out, in) as `torch.nn.Linear` draws them, so as PEFT begins."""
    bound = 1 / math.sqrt(n_in)
    return torch.empty(n_out, n_in).uniform_(-bound, bound, generator=generator)
