"""The pair that `honed attention` compares: a run's specialist, and its base under the linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from honed.data.dataset import Dataset
from honed.errors import OutputError, RunFolderError
from honed.events import Emitter
from honed.evidence.baselines import linear_probe_weights
from honed.pipeline.features import base_features
from honed.probes.measure import Encoded
from honed.probes.subject import Probe, Subject
from honed.serving.engine import Specialist
from honed.training.stack import Inputs, Stack

PROBE_ROWS = 1000
PROBE_FILE = "base_head.safetensors"
BASE, SPECIALIST = "base", "specialist"


@dataclass(frozen=True)
class Pair:
    """Both models over one stack."""

    base: Subject
    specialist: Subject

    @property
    def stack(self) -> Stack:
        """The stack of both."""
        return self.specialist.stack

    @property
    def subjects(self) -> dict[str, Subject]:
        """Both by name."""
        return {BASE: self.base, SPECIALIST: self.specialist}


def encode_first_view(stack: Stack, inputs: Sequence[Any]) -> Encoded:
    """The examples as the base reads them; of augmented images, the view that is the image as it is."""
    encoded = stack.task.encode(inputs)[:: stack.task.n_views]
    return Encoded(encoded, stack.task.n_tokens(encoded))


def make_pair(specialist: Specialist, probe: Probe) -> Pair:
    """The pair over the specialist's stack."""
    stack = specialist.stack
    placed = replace(probe, weight=probe.weight.to(stack.device), bias=probe.bias.to(stack.device))
    return Pair(Subject(stack, placed), Subject(stack, None, specialist.artifact.info.temperature))


def fit_probe(specialist: Specialist, rows: Dataset, encoded: Encoded, seed: int, emitter: Emitter) -> Probe:
    """A head for the base: the linear probe, honed's own baseline, on the pooled features of development rows.

    encoded : the rows, read.
    """
    import torch

    features = base_features(specialist.stack, rows.inputs, emitter, inputs=Inputs(encoded.rows, encoded.n_tokens))
    weight, bias = linear_probe_weights(features, rows.label, len(rows.label_names), seed=seed)
    return Probe(torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), len(rows))


def save_probe(path: Path, probe: Probe) -> None:
    """Keep the base's head, so that new inputs need no data of the run.

    Raises OutputError if the file cannot be written.
    """
    from safetensors.torch import save_file

    try:
        save_file({"weight": probe.weight, "bias": probe.bias}, path, metadata={"n_rows": str(probe.n_rows)})
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error}.", remedy="Free space.") from error


def read_probe(path: Path) -> Probe | None:
    """What `save_probe` wrote; None if there is nothing.

    Raises RunFolderError if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return Probe(file.get_tensor("weight"), file.get_tensor("bias"), int(file.metadata()["n_rows"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunFolderError(
            f"{path} cannot be read.", remedy=f"Remove the folder {path.parent} and run `honed attention` again."
        ) from error
