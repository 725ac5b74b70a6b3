"""`--to onnx`: base, adapter, pooling and head as one graph, from what the tokenizer or Pillow gives to logits."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.base_shape import quiet
from honed.errors import UsageError
from honed.export.format import Format, Source
from honed.export.preprocessing import plain_config, write_reading, write_specialist
from honed.export.readme import write_readme
from honed.methods.base import get_method

if TYPE_CHECKING:
    import torch

    from honed.artifact import ArtifactInfo
    from honed.export.other_program import OtherProgram
    from honed.training.stack import Stack

GRAPH, INT8_GRAPH = "model.onnx", "model.int8.onnx"
HIDDEN = "hidden_"
"""Values `hidden_0` (embeddings) .. `hidden_L` (after the last layer) can be found in the graph by these names."""


class Onnx(Format):
    """model.onnx, traced in float32, and model.int8.onnx if it is asked for. Takes every method."""

    has_int8 = True

    def check_installed(self) -> None:
        """Refuse where the optional packages are missing.

        Raises UsageError with the command that installs them.
        """
        missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(
                "`--to onnx` needs packages that are not installed.",
                cause=f"Missing: {', '.join(missing)}.",
                remedy="Install them with `pip install 'honed[onnx]'`.",
            )

    @property
    def program(self) -> str:
        """See `Format`."""
        return f"onnxruntime {version('onnxruntime')}"

    def is_in(self, folder: Path) -> bool:
        """The graph."""
        return (folder / GRAPH).exists()

    def write(self, folder: Path, source: Source) -> None:
        """Save graph, tokenizer or image processor, and a README.

        A method that merges is merged first: the graph is smaller, and computes no more than the base.
        """
        specialist, stack, info = source.specialist, source.specialist.stack, source.info
        config = plain_config(specialist, source.base)
        if get_method(info.method).capabilities.merges:
            stack.adapters.merge(0)
        else:
            stack.adapters.use(0)
        stack.model.float().cpu()
        stack.head.float().cpu()
        with quiet(), _silent_loggers():
            _trace(stack, folder / GRAPH, _example(stack.task, info))
            if source.int8:
                _quantize(folder / GRAPH, folder / INT8_GRAPH)
        config.dtype = "float32"
        config.save_pretrained(folder)
        write_reading(folder, specialist)
        write_specialist(folder, info)
        write_readme(folder, "onnx", info)

    def dtype(self, info: ArtifactInfo) -> str:
        """What all runtimes have; a bfloat16 run keeps its own, wider tolerance."""
        return "bfloat16" if info.dtype == "bfloat16" else "float32"

    def load(self, folder: Path, base: Path, device: torch.device) -> OtherProgram:
        """ONNX Runtime, on the CPU."""
        from honed.export.onnx_program import OnnxRuntime

        return OnnxRuntime(folder, GRAPH)

    def has_int8_in(self, folder: Path) -> bool:
        """Whether there is a second graph."""
        return (folder / INT8_GRAPH).exists()

    def load_int8(self, folder: Path) -> OtherProgram:
        """The 8-bit graph, in ONNX Runtime too."""
        from honed.export.onnx_program import OnnxRuntime

        return OnnxRuntime(folder, INT8_GRAPH)


def _example(task: Any, info: ArtifactInfo) -> dict[str, torch.Tensor]:
    """A batch of two, by which the graph is traced."""
    import torch

    if info.reading:
        size = int(info.reading["size"])
        return {"pixel_values": torch.zeros(2, 3, size, size)}
    ids = torch.full((2, min(8, info.max_tokens)), task.pad_id)
    mask = torch.ones_like(ids)
    mask[1, -1] = 0  # a mask without padding might be traced away
    return {"input_ids": ids, "attention_mask": mask}


def _trace(stack: Stack, path: Path, batch: dict[str, torch.Tensor]) -> None:
    """Export the whole of slot 0; the number of rows stays open, and of texts their length."""
    import torch

    stack.routing.only = 0
    axes = {0: "batch"} if "pixel_values" in batch else {0: "batch", 1: "tokens"}
    n_hidden = len(stack.layers) + 1
    with torch.no_grad():
        program = torch.onnx.export(
            _whole(stack, list(batch)),
            tuple(batch.values()),
            input_names=list(batch),
            output_names=["logits", *(f"{HIDDEN}{i}" for i in range(n_hidden))],
            dynamic_shapes=((axes,) * len(batch),),
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "torch.onnx.export without a file returns the program"
    # As outputs they could not be optimised away; from here on they are plain values that keep their names.
    del program.model.graph.outputs[1:]
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with the paths of this machine
    program.save(path)


def _whole(stack: Stack, names: Sequence[str]) -> torch.nn.Module:
    import torch

    class Whole(torch.nn.Module):
        """The inputs called `names` -> logits (rows, c) and the hidden states (rows, tokens, d)."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.head = stack.model, stack.head

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            batch = dict(zip(names, inputs, strict=True))
            output = self.model(**batch, output_hidden_states=True)
            return self.head(output, batch), *output.hidden_states

    return Whole().eval()


def _quantize(source: Path, target: Path) -> None:
    """Weights to 8-bit integers, activations when they are computed (ONNX Runtime's dynamic quantisation)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    large = source.with_name(source.name + ".data").exists()
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=large)


@contextmanager
def _silent_loggers() -> Iterator[None]:
    """Exporter and quantizer note on Python's loggers what no user of honed can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
