"""Any tuner of the installed PEFT, by its name and its own options; slots train one after another."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from honed.errors import UsageError
from honed.methods.base import PEFT_PREFIX, Adapted, Adapters, Capabilities, Host, Method, MethodOptions, PeftFiles
from honed.methods.linear import chosen_linears, is_attention

if TYPE_CHECKING:
    import torch

OURS = frozenset((
    "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out", "inference_mode",
    "layers_pattern", "layers_to_transform", "modules_to_save", "peft_type", "peft_version", "progressbar", "revision",
    "target_modules", "target_parameters", "task_type",
))  # fmt: skip
"""Fields of PEFT's configurations that `target`, `--depth` and the stack decide."""

REFUSED = {
    "ADALORA": "it moves rank between modules after every optimizer step, for one adapter at a time; use DORA or LORA",
    "ADAPTION_PROMPT": "it learns prompts; use `--method prefix`",
    "BOFT": "it compiles a CUDA extension when it starts; use OFT",
    "LN_TUNING": "it trains norms, and this method adapts linear modules; use IA3 or BEFT for as few parameters",
    "POLY": "it wants a task number with every batch",
    "PVERA": "its noise is drawn in PEFT's training mode alone, in which the frozen base never is; use VERA",
    "SHADOW": "it runs a second model beside the base",
    "TRAINABLE_TOKENS": "it trains rows of the embedding, which lies below the adapted layers",
    "XLORA": "it mixes adapters that were trained before",
}
"""Tuners of PEFT that do not train behind this interface, and why; those that learn prompts are refused by their class.
"""


class PeftTunerOptions(MethodOptions):
    """`tuner` and `target`, and beside them every option of that tuner: `--option tuner=VERA --option r=64`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    tuner: str = Field("DORA", description="a tuner of the installed PEFT; its own options are given beside it")
    target: str = Field(
        "attention",
        min_length=1,
        description="linear modules: attention (query, key, value, output), all-linear, or names such as q_proj,v_proj",
    )

    @field_validator("tuner")
    @classmethod
    def _known_tuner(cls, value: str) -> str:
        name = value.upper()
        reason = _refusal(name)
        if reason:
            raise PydanticCustomError("refused", "this tuner is not to be had: {reason}", {"reason": reason})
        return name

    @model_validator(mode="after")
    def _own_options(self) -> PeftTunerOptions:
        known = own_options(self.tuner)
        faults = []
        for name, value in (self.model_extra or {}).items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"{self.tuner} has {', '.join(known)}"
                fault = PydanticCustomError("unknown", "unknown; {hint}", {"hint": hint})
            elif "dropout" in name and value:
                fault = PydanticCustomError("dropout", "PEFT's dropout cannot be repeated when a run resumes; use 0")
            else:
                continue
            faults.append(InitErrorDetails(type=fault, loc=(name,), input=value))
        if faults:
            raise ValidationError.from_exception_data(type(self).__name__, faults)
        return self


def tuner_names() -> list[str]:
    """Names that `tuner` takes: PEFT's, and DORA for LoRA with `use_dora`."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    names = ["DORA", *(kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING)]
    return sorted(name for name in names if not _refusal(name))


def own_options(tuner: str) -> list[str]:
    """Fields of a tuner's configuration that a user may set."""
    ours = OURS | ({"use_dora"} if tuner == "DORA" else set())
    return [field.name for field in dataclasses.fields(_config_class(tuner)) if field.init and field.name not in ours]


def peft_config(options: PeftTunerOptions, sites: Sequence[str]) -> Any:
    """PEFT's configuration of a tuner for these modules.

    Unless it is told otherwise, IA3 scales the output of modules in the attention, and the input of all others.
    """
    cls = _config_class(options.tuner)
    names = {field.name for field in dataclasses.fields(cls)}
    given: dict[str, Any] = {"target_modules": sorted(sites)}
    if options.tuner == "DORA":
        given["use_dora"] = True
    if "feedforward_modules" in names:
        given["feedforward_modules"] = sorted(site for site in sites if not is_attention(site))
    if "progressbar" in names:
        given["progressbar"] = False
    return cls(**given | (options.model_extra or {}))


class PeftTuner(Method):
    """What PEFT has and honed has not. It does not stack.

    The capabilities are those of the default tuner: some others cannot be merged, or do not start at the base.
    """

    name = "peft_tuner"
    reference = "Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv:2402.09353; others: see PEFT"
    options = PeftTunerOptions
    capabilities = Capabilities(stacks=False, merges=True, touches_base=False)
    learning_rate = 1e-3
    preference = 3.0

    def ladder(self, layer: torch.nn.Module, depth: int) -> tuple[dict[str, Any], ...]:
        """TinyLoRA (Morris et al. 2026, arXiv:2602.04118): u weights a module, at last u for all modules together.

        Its r x r matrix between frozen factors takes no more than r * r weights. Where docs/parameter-budget.md
        measured it, it learns more from few weights than VeRA or a short prefix.
        """
        n_sites = len(chosen_linears(layer, "attention", "PEFT's TINYLORA")) * depth
        each = {u: {"tuner": "TINYLORA", "r": 16 if u > 64 else 8, "u": u} for u in (256, 128, 64, 32, 16, 8, 4, 2, 1)}
        tied = [{**own, "weight_tying": 1.0} for u, own in each.items() if u < n_sites]
        return ({},) if _refusal("TINYLORA") else (*each.values(), *tied)

    def install(self, host: Host, seeds: Sequence[int], options: Sequence[PeftTunerOptions]) -> Adapters:
        """One adapter of PEFT a slot, each under its own name, in linear modules of the adapted layers.

        Raises UsageError if the model has no such modules, or the tuner does not fit them.
        """
        from honed.methods.peft_adapters import PeftAdapters

        target, whose = options[0].target, f"PEFT's {options[0].tuner}"
        sites = [f"{path}.{name}" for path, layer in host.adapted for name in chosen_linears(layer, target, whose)]
        return PeftAdapters(host.model, tuple(sites), seeds, options)

    def to_peft(self, options: PeftTunerOptions, adapted: Adapted) -> PeftFiles:
        """The tuner's own configuration; `target_modules` are full module paths, so exactly these are adapted."""
        config = {
            name: sorted(value) if isinstance(value, set) else value
            for name, value in peft_config(options, adapted.sites).to_dict().items()
        }
        tensors = {prefixed(name): tensor for name, tensor in adapted.state.items()}
        return PeftFiles(config | {"inference_mode": True}, tensors)

    def from_peft(self, files: PeftFiles) -> tuple[PeftTunerOptions, dict[str, torch.Tensor]]:
        """An adapter of any tuner that `tuner` takes.

        Raises UsageError if it uses what this method has not.
        """
        tuner = "DORA" if files.config.get("use_dora") else str(files.config["peft_type"])
        reason = _refusal(tuner)
        odd = [] if reason else [name for name in ("bias", "target_parameters") if _differs(tuner, name, files.config)]
        if reason or odd:
            uses = f"{reason}" if reason else f"it sets {', '.join(odd)}"
            raise UsageError(f"This adapter of PEFT's {tuner} cannot be read by method 'peft_tuner'.", cause=f"{uses}.")
        given = {name: files.config[name] for name in own_options(tuner) if _differs(tuner, name, files.config)}
        target = ",".join(_targets(tuner, files))
        state = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in files.tensors.items()}
        return PeftTunerOptions(tuner=tuner, target=target, **given), state


def prefixed(name: str) -> str:
    """PEFT's name of a tensor of ours. What several modules share lies beside the model and has its full name."""
    return name if name.startswith("base_model.") else PEFT_PREFIX + name


def _config_class(tuner: str) -> Any:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return PEFT_TYPE_TO_CONFIG_MAPPING["LORA" if tuner == "DORA" else tuner]


def _refusal(tuner: str) -> str | None:
    """Why there is no such tuner here, if there is none."""
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    if tuner in REFUSED:
        return REFUSED[tuner]
    names = {"DORA", *(kind.value for kind in PEFT_TYPE_TO_CONFIG_MAPPING)}
    if tuner not in names:
        near = difflib.get_close_matches(tuner, names, n=1)
        known = ", ".join(sorted(names - REFUSED.keys()))
        return f"PEFT has none of that name; {f'did you mean {near[0]}?' if near else f'it has {known}'}"
    learns_prompts = issubclass(_config_class(tuner), PromptLearningConfig)
    return "it learns prompts; use `--method prefix`" if learns_prompts else None


def _differs(tuner: str, name: str, config: dict[str, Any]) -> bool:
    """Whether a saved configuration has another value than PEFT's default (an absent one is the default)."""
    for field in dataclasses.fields(_config_class(tuner)):
        if field.name == name and name in config:
            made = field.default_factory() if callable(field.default_factory) else field.default
            plain = sorted(made) if isinstance(made, set) else made
            return bool(config[name] != plain) and not (config[name] in (None, [], {}) and not plain)
    return False


def _targets(tuner: str, files: PeftFiles) -> list[str]:
    """Adapted modules relative to their layer: as the tensors say, else (all of them are shared) the configuration."""
    from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

    prefix = "." + PEFT_TYPE_TO_PREFIX_MAPPING["LORA" if tuner == "DORA" else tuner]
    sites = {name.rsplit(prefix, 1)[0] for name in files.tensors if name.startswith(PEFT_PREFIX) and prefix in name}
    listed = files.config["target_modules"]
    known = sites or set([listed] if isinstance(listed, str) else listed)
    return sorted({re.split(r"\.\d+\.", site, maxsplit=1)[-1] for site in known})


METHOD = PeftTuner()
