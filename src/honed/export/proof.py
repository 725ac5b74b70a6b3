"""Parity or nothing: an export, read back by the other program, is compared check by check with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from honed.artifact import write_json
from honed.errors import ParityError
from honed.events import Emitter
from honed.evidence.parity import Parity, Reading, parity
from honed.evidence.parity_terms import TOLERANCES, ParityRows, ParityTerms
from honed.export.first_difference import LayerGap, first_difference, layer_gaps
from honed.export.formats import FORMATS
from honed.export.other_program import OtherProgram, Unreadable

if TYPE_CHECKING:
    import torch

    from honed.artifact import ArtifactInfo
    from honed.serving.engine import Specialist

PARITY = "parity.json"
FORMAT = 1
DIAGNOSED_ROWS = 8


@dataclass(frozen=True)
class Measured:
    """What the specialist gave when it was measured, on n rows.

    is_holdout : they are of the opened holdout, with the gate's own logits; else development rows, with fresh ones.
    rows : sorted by example_id, of the `n_available` that there are.    inputs : the text or image of each row.
    reading : logits, label names and tokens.    metric, level : of the run.
    """

    is_holdout: bool
    rows: ParityRows
    inputs: Sequence[Any]
    reading: Reading
    n_available: int
    metric: str
    level: float


@dataclass(frozen=True)
class Original:
    """The artifact that was exported.

    base : folder of its base model.    device : where it was loaded.
    load : loads it anew, to find the layer that differs.
    """

    info: ArtifactInfo
    base: Path
    device: torch.device
    load: Callable[[], Specialist]


@dataclass(frozen=True)
class Proof:
    """One graph of an export against what was measured.

    unreadable : why the other program could not read it; there is no parity then.
    gaps : layer by layer, where a check found a difference that layers can explain.
    """

    program: str
    parity: Parity | None = None
    lost: tuple[str, ...] = ()
    gaps: tuple[LayerGap, ...] = ()
    unreadable: str = ""

    @property
    def failed(self) -> bool:
        """Whether it must not be used."""
        return self.parity is None or self.parity.failed or bool(self.lost)

    @property
    def told(self) -> list[str]:
        """Every difference, a sentence each."""
        if self.parity is None:
            return [f"{self.program} cannot use it: {self.unreadable}."]
        sentences = [check.sentence for check in self.parity.checks if check.outcome == "different"]
        more = f" and {len(self.lost) - 3} more" if len(self.lost) > 3 else ""
        return sentences + ([f"It has lost {', '.join(self.lost[:3])}{more}."] if self.lost else [])

    @property
    def cause(self) -> str:
        """Where it begins to differ, as far as that is known."""
        if not self.gaps:
            return ""
        first = first_difference(self.gaps)
        if first is None:
            return (
                "No layer differs from the adapter folder as it is now: that folder, its base or this machine is not "
                "what was measured."
            )
        if not np.isfinite(first.max_difference):
            return f"It first differs in {first.layer}, which is missing, of another shape, or not finite."
        return f"It first differs in {first.layer}: by {first.max_difference:.2g}, allowed are {first.allowed:.2g}."

    def to_json(self) -> dict[str, Any]:
        """Plain types for parity.json."""
        first = first_difference(self.gaps)
        return {
            "read_back_by": self.program,
            "verdict": "FAIL" if self.parity is None or self.lost else self.parity.verdict,
            "unreadable": self.unreadable or None,
            "lost_tensors": list(self.lost),
            "parity": None if self.parity is None else self.parity.to_json(),
            "first_difference": first.layer if first else None,
            "layers": [gap.to_json() for gap in self.gaps],
        }


def prove(folder: Path, to: str, measured: Measured, original: Original, emitter: Emitter) -> dict[str, Any]:
    """Read the export back, compare, and write parity.json; returns its content.

    Raises ParityError if anything differs by more than rounding; nothing is deleted.
    """
    chosen = FORMATS[to]
    terms = ParityTerms(chosen.dtype(original.info), metric=measured.metric, level=measured.level)
    one = partial(_prove_one, chosen.program, measured, original, emitter)
    proofs = {"": one(terms, partial(chosen.load, folder, original.base, original.device))}
    if chosen.has_int8_in(folder):
        quantised = ParityTerms(terms.dtype, is_quantised=True, metric=terms.metric, level=terms.level)
        proofs["int8"] = one(quantised, partial(chosen.load_int8, folder))
    facts: dict[str, Any] = {
        "format": FORMAT,
        "to": to,
        "rows": "holdout" if measured.is_holdout else "development",
        "n_rows": len(measured.inputs),
        "n_available": measured.n_available,
        **proofs[""].to_json(),
        "int8": proofs["int8"].to_json() if "int8" in proofs else None,
    }
    write_json(folder / PARITY, facts)
    for name, proof in proofs.items():
        if proof.failed:
            raise ParityError(
                f"The {to} export in {folder} is not what was measured"
                + (f" ({name} weights)" if name else "")
                + f". {' '.join(proof.told)}",
                cause=proof.cause,
                remedy=f"Do not use it. Nothing was deleted: {folder / PARITY} holds every check.",
                facts=facts,
            )
    return facts


def _prove_one(
    program: str,
    measured: Measured,
    original: Original,
    emitter: Emitter,
    terms: ParityTerms,
    load: Callable[[], OtherProgram],
) -> Proof:
    def tell(done: int, total: int) -> None:
        emitter.emit("progress", f"reading back with {program}", done=done, total=total, unit="row")

    lost: tuple[str, ...] = ()
    try:
        other = load()
        lost = other.lost
        reading = Reading(other.logits(measured.inputs, tell), other.label_names, other.tokens(measured.inputs))
    except Unreadable as error:
        return Proof(program, lost=lost, unreadable=str(error))
    found = parity(measured.reading, reading, measured.rows, terms)
    gaps: Sequence[LayerGap] = ()
    is_other = {check.name for check in found.checks if check.outcome == "different"}
    if not terms.is_quantised and "tokens" not in is_other and is_other - {"label_names"}:
        worst = [measured.inputs[i] for i in _worst(measured.reading, reading)]
        gaps = layer_gaps(original.load(), other, worst, TOLERANCES[terms.dtype].max_frac)
    return Proof(program, found, lost, tuple(gaps))


def _worst(reference: Reading, candidate: Reading) -> list[int]:
    """The few rows whose logits are furthest apart; the first ones where they cannot be compared."""
    if candidate.logits.shape != reference.logits.shape:
        return list(range(min(DIAGNOSED_ROWS, len(reference.logits))))
    gap = np.nan_to_num(np.abs(candidate.logits - reference.logits).max(axis=1), nan=np.inf)
    worst: list[int] = np.argsort(-gap, kind="stable")[:DIAGNOSED_ROWS].tolist()
    return worst
