"""Exports in the hands of plain transformers and of PEFT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.base_shape import quiet
from honed.export.other_program import PREPROCESSOR, SPECIALIST, Array, Batch, OtherProgram, reading

if TYPE_CHECKING:
    import torch

_HEAD, _PEFT_PREFIX = "head.safetensors", "base_model.model."


class Transformers(OtherProgram):
    """A merged export: `AutoModel` and head.safetensors, or `AutoModelForSequenceClassification`."""

    _is_adapter = False

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(folder)
        self._device = device
        self._head: dict[str, torch.Tensor] | None = None
        told = next((folder / name for name in (SPECIALIST, "honed.json") if (folder / name).exists()), None)
        with reading("description"):
            self._own: dict[str, Any] = json.loads(told.read_text(encoding="utf-8")) if told else {}
        is_native = _is_native(folder)
        with quiet(), reading("model"):
            model, self.lost = self._load(folder, _auto(folder, is_native=is_native))
        self._model = model.eval().to(device)
        if is_native:
            backbone = f"{_PEFT_PREFIX if self._is_adapter else ''}{model.base_model_prefix}."
            self._has_head = all(name.startswith(backbone) for name in self.lost)
        else:
            self._has_head = (folder / _HEAD).exists()
            self._load_head(folder)

    def _load(self, folder: Path, auto: Any) -> tuple[Any, tuple[str, ...]]:
        """The model, and what was missing in the folder."""
        model, loading = auto.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        return model, tuple(sorted(loading["missing_keys"]))

    def _to_model(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, self._model.dtype if tensor.is_floating_point() else tensor.dtype)

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        import torch

        kind, n_special = self._own.get("head"), self._own.get("reading", {}).get("n_special_tokens", 0)
        if kind == "cls":
            return hidden[:, 0]
        if mask is None:
            mean = hidden[:, n_special:].mean(1)
            return torch.cat([hidden[:, 0], mean], dim=1) if kind == "both" and n_special else mean
        keep = mask.unsqueeze(-1)
        return (hidden * keep).sum(1) / keep.sum(1)

    def _load_head(self, folder: Path) -> None:
        from safetensors.torch import load_file

        if not self._has_head:
            self.lost += (_HEAD,)
            return
        with reading(_HEAD):
            self._head = {name: tensor.to(self._device) for name, tensor in load_file(folder / _HEAD).items()}

    def forward(self, batch: Batch, *, hidden: bool = False) -> tuple[Array, list[Array]]:
        """See `OtherProgram`. Without the weights of a head there are no logits: (rows, 0)."""
        import torch

        inputs = {name: self._to_model(torch.from_numpy(values)) for name, values in batch.items()}
        with torch.inference_mode():
            output = self._model(**inputs, output_hidden_states=hidden)
            if not self._has_head:
                logits = torch.zeros(len(next(iter(batch.values()))), 0)
            elif self._head is None:
                logits = output.logits
            else:
                pooled = self._pooled(output.last_hidden_state, inputs.get("attention_mask"))
                logits = pooled.to(self._head["weight"].dtype) @ self._head["weight"].T + self._head["bias"]
        return _numpy(logits), [_numpy(state) for state in output.hidden_states] if hidden else []


class Peft(Transformers):
    """An adapter on its base, which lies in `base`."""

    _is_adapter = True

    def __init__(self, folder: Path, device: torch.device, base: Path) -> None:
        self._base = base
        super().__init__(folder, device)

    def _load(self, folder: Path, auto: Any) -> tuple[Any, tuple[str, ...]]:
        import transformers
        from peft import PeftModel, get_peft_model_state_dict
        from safetensors import safe_open

        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = auto.from_pretrained(
            self._base, config=config, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        adapted = PeftModel.from_pretrained(model, folder)
        with safe_open(folder / "adapter_model.safetensors", "pt") as file:
            held = set(file.keys())
        return adapted, tuple(sorted(get_peft_model_state_dict(adapted).keys() - held))


def _is_native(folder: Path) -> bool:
    """Whether the model's own class holds the head: config.json names that class."""
    with reading("config.json"):
        classes = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    return str(classes[0]).endswith(("ForSequenceClassification", "ForImageClassification"))


def _auto(folder: Path, *, is_native: bool) -> Any:
    import transformers

    if not is_native:
        return transformers.AutoModel
    is_image = (folder / PREPROCESSOR).exists()
    return transformers.AutoModelForImageClassification if is_image else transformers.AutoModelForSequenceClassification


def _numpy(tensor: torch.Tensor) -> Array:
    values: Array = tensor.double().cpu().numpy()
    return values
