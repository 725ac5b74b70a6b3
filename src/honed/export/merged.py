"""`--to merged`: one plain transformers model, in which the adapter is a part of the weights."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from honed.base_shape import quiet
from honed.errors import UsageError
from honed.export.format import Format, Source
from honed.export.preprocessing import plain_config, write_reading, write_specialist
from honed.export.readme import write_readme
from honed.methods.base import get_method
from honed.tasks.heads import NativeHead

if TYPE_CHECKING:
    import torch

    from honed.artifact import ArtifactInfo
    from honed.export.other_program import OtherProgram

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


class Merged(Format):
    """A folder for `from_pretrained`, and head.safetensors where the head is not of the model's own class."""

    def check(self, adapter: Path, info: ArtifactInfo) -> None:
        """Refuse a method that cannot become a part of the base's weights.

        Raises UsageError with what to use instead.
        """
        if not get_method(info.method).capabilities.merges:
            raise UsageError(
                f"This specialist (method {info.method!r}) cannot be exported `--to merged`.",
                cause="What the method adds is no change of the base's own weights, so nothing can take it up.",
                remedy="Use `--to onnx`, which takes every method.",
            )

    @property
    def program(self) -> str:
        """See `Format`."""
        return f"transformers {version('transformers')}"

    def is_in(self, folder: Path) -> bool:
        """Weights of a whole model."""
        return any((folder / name).exists() for name in _WEIGHTS)

    def write(self, folder: Path, source: Source) -> None:
        """Merge the adapter and save model, head, tokenizer and a README."""
        from safetensors.torch import save_file

        specialist, stack = source.specialist, source.specialist.stack
        config = plain_config(specialist, source.base)
        stack.adapters.merge(0)
        if isinstance(stack.head, NativeHead):
            stack.head.release(stack.model, 0)
        else:
            head = {name: tensor.detach().cpu().contiguous() for name, tensor in stack.head_parameters(0).items()}
            save_file(head, folder / "head.safetensors", metadata={"format": "pt"})
        stack.model.config = config
        with quiet():
            stack.model.save_pretrained(folder)
        write_reading(folder, specialist)
        write_specialist(folder, source.info)
        write_readme(folder, "merged", source.info)

    def dtype(self, info: ArtifactInfo) -> str:
        """The precision of the run."""
        return info.dtype

    def load(self, folder: Path, base: Path, device: torch.device) -> OtherProgram:
        """Plain transformers; it needs no base."""
        from honed.export.torch_programs import Transformers

        return Transformers(folder, device)
