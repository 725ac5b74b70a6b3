"""One input, asked of a run's specialist and of its base: what each answers, and where each looked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.config import make_config, read_config
from honed.data.image_files import examine
from honed.data.images import strict_pillow
from honed.errors import EvidenceError, HonedError, UsageError
from honed.events import Emitter
from honed.evidence.attention_plots import Overlay, TokenHeat, overlay, token_heat
from honed.pipeline.attention import as_in_run, probe_of
from honed.pipeline.attention_models import BASE, SPECIALIST, encode_first_view, make_pair
from honed.pipeline.attention_table import gridded
from honed.pipeline.reopen import finished
from honed.probes.measure import measure_maps
from honed.probes.subject import Subject
from honed.serving.engine import load_specialist

MAP = "relevance"
LONGEST_TEXT = 200_000


@dataclass(frozen=True)
class Answer:
    """What both models say of one input.

    specialist : (c,) calibrated probabilities.    base : (c,) under the linear probe; None where there is no base, and
    `base_not_run` says why.    tokens : (base, specialist) of a text, what each read most.    overlay : of an image.
    map_not_run : why neither is there.    notes : what is to be said of the map.
    """

    label_names: tuple[str, ...]
    specialist: npt.NDArray[np.float64]
    base: npt.NDArray[np.float64] | None
    base_not_run: str = ""
    tokens: tuple[Sequence[TokenHeat], Sequence[TokenHeat]] | None = None
    overlay: Overlay | None = None
    map_not_run: str = ""
    notes: tuple[str, ...] = ()


class Playground:
    """A specialist and its base, loaded. One input at a time: both are states of one stack."""

    def __init__(self, path: str | Path, *, device: str = "auto") -> None:
        """Raises RunFolderError if `path` is no finished run, BaseModelError if its base is not here."""
        run = finished(path)
        self._lock = threading.Lock()
        self._specialist = load_specialist(run.adapter, device=device)
        info = self._specialist.artifact.info
        self.is_image = bool(info.reading)
        self._withheld, self._notes = as_in_run(run, MAP)
        own = Subject(self._specialist.stack, None, info.temperature)
        self._subjects, self._base_not_run = {SPECIALIST: own}, ""
        try:
            probe = probe_of(run, make_config(read_config(run.config)), self._specialist, Emitter())
            self._subjects = make_pair(self._specialist, probe).subjects
        except HonedError as error:  # the specialist can answer without it
            self._base_not_run = f"not run, because the base's head cannot be fitted: {error}"

    def ask_text(self, text: str) -> Answer:
        """Raises UsageError for an empty or endless text, or if the run classifies images."""
        if self.is_image:
            raise UsageError("This run classifies images.", remedy="Give it an image.")
        if not text.strip():
            raise UsageError("There is no text.", remedy="Write or paste one.")
        if len(text) > LONGEST_TEXT:
            raise UsageError(f"The text has {len(text):,} characters, more than {LONGEST_TEXT:,}.")
        with self._lock:
            return self._ask(text)

    def ask_image(self, data: bytes) -> Answer:
        """Raises UnreadableImage for what is no image, UsageError if the run classifies texts."""
        if not self.is_image:
            raise UsageError("This run classifies texts.", remedy="Give it a text.")
        with self._lock, TemporaryDirectory(prefix="honed-image-") as folder:
            (Path(folder) / "image").write_bytes(data)
            with strict_pillow():
                image = examine("image", Path(folder))
            return self._ask(image)

    def _ask(self, given: Any) -> Answer:
        specialist, stack = self._specialist, self._specialist.stack
        probs = specialist.probabilities([given])[0]
        encoded = encode_first_view(stack, [given])
        maps = {name: measure_maps(subject, encoded, Emitter(), "") for name, subject in self._subjects.items()}
        base = maps[BASE].probs[0] if BASE in maps else None
        answer = Answer(specialist.label_names, probs, base, self._base_not_run, notes=tuple(self._notes))
        if self._withheld:
            return replace(answer, map_not_run="withheld, because in this run's own rows it survives random weights")
        heat = {name: own.heat[MAP][0] for name, own in maps.items()}
        first, second = heat.get(BASE, heat[SPECIALIST]), heat[SPECIALIST]
        if self.is_image:
            pixels = np.asarray(encoded.rows[0], dtype=np.uint8)
            try:
                return replace(answer, overlay=overlay(pixels, gridded(first), gridded(second)))
            except EvidenceError as error:
                return replace(answer, map_not_run=f"not run, because {error}")
        words = stack.task.tokenizer.convert_ids_to_tokens(encoded.rows[0].tolist())
        both = token_heat(words, *(np.nan_to_num(own[: len(words)]) for own in (first, second)))
        return replace(answer, tokens=both)
