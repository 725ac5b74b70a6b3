"""Prefix tuning: learned keys and values in front of those of the tokens, in every adapted layer (Li & Liang 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from honed.errors import UsageError
from honed.methods.base import Adapted, Adapters, Capabilities, Host, Method, MethodOptions, Packed, PeftFiles

if TYPE_CHECKING:
    import torch

LIKE_PEFT = "prompt_embeddings"
"""First part of the names of a slot's tensors where PEFT's prefix tuning computes the same; also PEFT's name."""
UNLIKE_PEFT = "key_value"
"""The same where PEFT does not: in encoders, vision models and with a prefix in the top layers alone."""


class PrefixOptions(MethodOptions):
    """Options of prefix tuning; each is set with `--option NAME=VALUE`."""

    tokens: int = Field(16, ge=1, description="virtual tokens: learned keys and values a layer")
    init_std: float = Field(0.02, ge=0, description="standard deviation of the drawn start, without the MLP")
    reparameterise: bool = Field(
        False,
        description="train the prefix as the output of an MLP (eq. 3), at 1/30 of the rate; it is dropped when saving",
    )
    hidden_size: int = Field(512, ge=1, description="width of that MLP")


class Prefix(Method):
    """Learned keys and values; stacks, leaves the base untouched, cannot be merged into weights.

    With all layers of a decoder adapted it is PEFT's prefix tuning: the tokens stand at the positions after the prefix,
    and a sliding window hides the prefix from tokens that are further away. In every other case positions stay as
    they are, so the layers below are the base's own, bit by bit, and no position of a learned table is given up. Layers
    with local attention in encoders see the whole prefix from every token.
    """

    name = "prefix"
    reference = "Li & Liang 2021, Prefix-Tuning: Optimizing Continuous Prompts for Generation, arXiv:2101.00190"
    options = PrefixOptions
    capabilities = Capabilities(stacks=True, merges=False, touches_base=False, starts_at_base=False)
    per_slot_options = frozenset(PrefixOptions.model_fields)
    learning_rate = 3e-2
    preference = 4.0
    peft_prefix = "base_model."  # PEFT puts no model of its own around the base for this method

    def ladder(self, layer: torch.nn.Module, depth: int) -> tuple[dict[str, Any], ...]:
        """Numbers of virtual tokens."""
        return tuple({"tokens": tokens} for tokens in (64, 32, 16, 8, 4, 2, 1))

    def install(self, host: Host, seeds: Sequence[int], options: Sequence[Any]) -> Adapters:
        """Send the attention of the model through a function that puts the prefix of each row in front.

        Raises UsageError if an adapted layer has no self-attention that transformers' attention interface computes.
        """
        from honed.methods.slot_prefix import install

        return install(host, seeds, options)

    def pack_key(self, options: PrefixOptions) -> tuple[Any, ...] | None:
        """See `Method`; what is shipped has no MLP."""
        return None if options.reparameterise else ()

    def pack(self, host: Host, options: PrefixOptions) -> Packed:
        """See `Method`."""
        from honed.methods.packed_prefix import pack

        del options
        return pack(host)

    def shipped(self, options: PrefixOptions, state: dict[str, torch.Tensor]) -> tuple[Any, dict[str, torch.Tensor]]:
        """The keys and values themselves in the place of the MLP that made them."""
        if not options.reparameterise:
            return options, state
        from honed.methods.slot_prefix import flattened

        return options.model_copy(update={"reparameterise": False}), flattened(state)

    def to_peft(self, options: PrefixOptions, adapted: Adapted) -> PeftFiles | None:
        """PEFT's PrefixTuningConfig: `prompt_embeddings` (tokens, layers * 2 * kv heads * head size).

        None where PEFT's prefix tuning is something else: it shifts the positions of encoders too, takes no vision
        models, and has a prefix in all layers.
        """
        import torch

        options, state = self.shipped(options, adapted.state)
        if not all(name.startswith(LIKE_PEFT) for name in state):
            return None
        layers = [state[f"{LIKE_PEFT}.{i}.key_value"] for i in range(adapted.n_layers)]
        config = {
            "peft_type": "PREFIX_TUNING",
            "num_virtual_tokens": options.tokens,
            "num_layers": adapted.n_layers,
            "num_transformer_submodules": 1,
            "prefix_projection": False,
            "inference_mode": True,
        }
        return PeftFiles(config, {LIKE_PEFT: torch.cat(layers, dim=1)})

    def from_peft(self, files: PeftFiles) -> tuple[PrefixOptions, dict[str, torch.Tensor]]:
        """An adapter of PEFT's PrefixTuningConfig; what PEFT saves of a reparameterised one is without its MLP too.

        Raises UsageError if it is of another kind, or for an encoder with a decoder.
        """
        config = files.config
        if config.get("peft_type") != "PREFIX_TUNING" or config.get("num_transformer_submodules") not in (1, None):
            raise UsageError(
                f"Method 'prefix' cannot read this adapter (peft_type {config.get('peft_type')}, "
                f"num_transformer_submodules {config.get('num_transformer_submodules')}).",
                remedy="It reads PREFIX_TUNING adapters of models with one transformer.",
            )
        embeddings = files.tensors[LIKE_PEFT]
        layers = embeddings.chunk(config["num_layers"], dim=1)
        state = {f"{LIKE_PEFT}.{i}.key_value": layer.contiguous() for i, layer in enumerate(layers)}
        return PrefixOptions.model_validate({"tokens": embeddings.shape[0]}), state


METHOD = Prefix()
