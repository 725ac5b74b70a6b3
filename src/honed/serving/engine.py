"""A loaded specialist: the artifact on its base, ready to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from honed.artifact import Artifact, ArtifactInfo, check_base, check_tokenizer, load_artifact, tokenizer_sha256
from honed.bases import ResolvedBase, resolve
from honed.events import Emitter
from honed.methods.base import get_method
from honed.training.build import HeadKind, StackSpec, build_stack, encode
from honed.training.loop import predict
from honed.training.stack import Stack, token_batches


@dataclass(frozen=True)
class Specialist:
    """One artifact in slot 0 of a stack."""

    artifact: Artifact
    stack: Stack

    @property
    def label_names(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""
        return self.artifact.info.label_names

    def logits(self, examples: Sequence[Any], emitter: Emitter | None = None) -> npt.NDArray[np.float64]:
        """Logits before the temperature: (n, c), in the order of the examples: texts, or image files."""
        if not examples:
            return np.zeros((0, len(self.label_names)))
        inputs = encode(self.stack, examples)
        result = np.empty((len(examples), len(self.label_names)))
        order = np.argsort(inputs.n_tokens, kind="stable")
        done = 0
        for rows in token_batches(order, inputs.n_tokens, 65536):
            result[rows] = predict(self.stack, inputs, None, 0, rows)
            done += len(rows)
            if emitter:
                emitter.emit("progress", "predicting", done=done, total=len(examples), unit="row")
        return result

    def probabilities(self, examples: Sequence[Any], emitter: Emitter | None = None) -> npt.NDArray[np.float64]:
        """Calibrated probabilities: softmax(logits / temperature), (n, c)."""
        scaled = self.logits(examples, emitter) / self.artifact.info.temperature
        exp = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        result: npt.NDArray[np.float64] = exp / exp.sum(axis=1, keepdims=True)
        return result


def load_specialist(folder: Path, *, base: str | None = None, device: str = "auto") -> Specialist:
    """Load the artifact in `folder` (an `adapter/` directory) onto its base.

    base : where to find the base, if not where it was found in training.

    Raises RunFolderError for a damaged artifact, BaseModelError for another base or another tokenizer.
    """
    artifact = load_artifact(folder)
    info = artifact.info
    found = resolve(base or info.base, revision=None if base else info.base_revision)
    return assemble(artifact, found, device=device)


def _reading(info: ArtifactInfo) -> dict[str, Any] | None:
    if "n_views" in info.reading:  # of an image only those views are read that a prediction is the mean of
        return info.reading | {"n_views": info.reading.get("n_averaged", 1)}
    return info.reading or None


def assemble(artifact: Artifact, base: ResolvedBase, *, device: str) -> Specialist:
    """Put an artifact onto a resolved base."""
    info = artifact.info
    check_base(info, base)
    spec = StackSpec(
        method=info.method,
        options=get_method(info.method).options(**info.method_options),
        head=cast("HeadKind", info.head),
        depth=info.depth,
        label_names=info.label_names,
        max_tokens=info.max_tokens,
        dtype=info.dtype,
        device=device,
        task=info.task,
        reading=_reading(info),
        layers=info.n_layers,
    )
    stack = build_stack(base, spec, seeds=[0])
    check_tokenizer(info, base, tokenizer_sha256(stack.task.tokenizer))
    stack.load_slot_state(0, artifact.state)
    return Specialist(artifact, stack)
