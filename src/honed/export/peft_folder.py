"""`--to peft`: the adapter as it was measured, with everything that plain PEFT needs beside it."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from honed.errors import UsageError
from honed.export.format import Format, Source
from honed.export.preprocessing import plain_config, write_reading, write_specialist
from honed.export.readme import write_readme
from honed.methods.base import get_method

if TYPE_CHECKING:
    import torch

    from honed.artifact import ArtifactInfo
    from honed.export.other_program import OtherProgram

_CONFIG = "adapter_config.json"
_FILES = (_CONFIG, "adapter_model.safetensors", "head.safetensors", "honed.json")


class PeftFolder(Format):
    """The artifact's own PEFT files."""

    def check(self, adapter: Path, info: ArtifactInfo) -> None:
        """Refuse an artifact that PEFT has no format for.

        Raises UsageError with what to use instead.
        """
        if not (adapter / _CONFIG).exists():
            other = "merged" if get_method(info.method).capabilities.merges else "onnx"
            raise UsageError(
                f"This specialist (method {info.method!r}) cannot be exported `--to peft`.",
                cause="PEFT has no adapter that computes the same, so PEFT could not load it.",
                remedy=f"Use `--to {other}`.",
            )

    @property
    def program(self) -> str:
        """See `Format`."""
        return f"peft {version('peft')} on transformers {version('transformers')}"

    def is_in(self, folder: Path) -> bool:
        """PEFT's own mark."""
        return (folder / _CONFIG).exists()

    def write(self, folder: Path, source: Source) -> None:
        """Copy the artifact; add the configuration with the label names, the tokenizer and a README."""
        for name in _FILES:
            if (source.adapter / name).exists():
                shutil.copyfile(source.adapter / name, folder / name)
        plain_config(source.specialist, source.base).save_pretrained(folder)
        write_reading(folder, source.specialist)
        if source.info.reading:
            write_specialist(folder, source.info)
        write_readme(folder, "peft", source.info)

    def dtype(self, info: ArtifactInfo) -> str:
        """The precision of the run, which config.json carries."""
        return info.dtype

    def load(self, folder: Path, base: Path, device: torch.device) -> OtherProgram:
        """Plain transformers loads the base, PEFT the adapter."""
        from honed.export.torch_programs import Peft

        return Peft(folder, device, base)
