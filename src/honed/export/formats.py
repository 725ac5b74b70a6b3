"""The export formats by the name that `--to` takes."""

from __future__ import annotations

from honed.errors import UsageError
from honed.export.format import Format
from honed.export.merged import Merged
from honed.export.onnx_model import Onnx
from honed.export.peft_folder import PeftFolder

FORMATS: dict[str, Format] = {"peft": PeftFolder(), "merged": Merged(), "onnx": Onnx()}


def get_format(to: str, *, int8: bool = False) -> Format:
    """The format called `to`.

    Raises UsageError for an unknown name, for int8 where the format has none, or where packages are missing.
    """
    if to not in FORMATS:
        raise UsageError(f"--to {to} is not one of {', '.join(FORMATS)}.")
    chosen = FORMATS[to]
    if int8 and not chosen.has_int8:
        raise UsageError(f"--int8 means nothing with --to {to}.", remedy="Use `--to onnx --int8`.")
    chosen.check_installed()
    return chosen
