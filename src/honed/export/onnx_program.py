"""Exports in the hands of ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from honed.export.other_program import Array, Batch, OtherProgram, PillowReader, reading

_HIDDEN = "hidden_"
_FLOAT32 = 1


class OnnxRuntime(OtherProgram):
    """The graph `graph` of an export, on the CPU; no torch, and for images no transformers either."""

    _image_reader = PillowReader

    def __init__(self, folder: Path, graph: str) -> None:
        import onnxruntime

        super().__init__(folder)
        self._path = folder / graph
        self._with_hidden: tuple[Any, list[str]] | None = None
        with reading(graph):
            self._session = onnxruntime.InferenceSession(self._path, providers=["CPUExecutionProvider"])

    def forward(self, batch: Batch, *, hidden: bool = False) -> tuple[Array, list[Array]]:
        """See `OtherProgram`; for the hidden states, which are inner values of the graph, it is loaded once more."""
        if not hidden:
            (logits,) = self._session.run(["logits"], batch)
            return logits.astype("float64"), []
        if self._with_hidden is None:
            self._with_hidden = self._open_hidden()
        session, names = self._with_hidden
        logits, *states = session.run(["logits", *names], batch)
        return logits.astype("float64"), [state.astype("float64") for state in states]

    def _open_hidden(self) -> tuple[Any, list[str]]:
        import onnx
        import onnxruntime

        graph = onnx.load(self._path, load_external_data=False)
        found = {value for node in graph.graph.node for value in node.output if value.startswith(_HIDDEN)}
        names = sorted((n for n in found if n[len(_HIDDEN) :].isdigit()), key=lambda n: int(n[len(_HIDDEN) :]))
        for name in names:
            graph.graph.output.append(onnx.helper.make_tensor_value_info(name, _FLOAT32, None))
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self._path.parent))
        session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session, names
