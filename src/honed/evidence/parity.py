"""Does an exported program say what was measured? Two readings of the same rows, compared check by check.

The reference is the artifact that was judged; the candidate is the export, loaded back by the program that will serve
it. Rows are compared by position, logits by position of the class; names and their order have a check of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.errors import EvidenceError, UsageError
from honed.evidence.parity_numbers import Pair, labels_check, logits_check, score_check
from honed.evidence.parity_terms import TOLERANCES, ParityCheck, ParityRows, ParityTerms, not_run

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"


@dataclass(frozen=True)
class Reading:
    """What one program says about n rows.

    logits : (n, c) before softmax and temperature; another number of columns is a finding, not an error.
    label_names : (c) names in the program's own order.
    tokens : ids of each row without padding (of an image, the bytes of its pixels' sha256), or None; `tokens_not_run`
        then says why.
    """

    logits: npt.NDArray[np.floating[Any]]
    label_names: tuple[str, ...]
    tokens: Sequence[Sequence[int]] | None = None
    tokens_not_run: str = "the program was given token ids, not texts"


@dataclass(frozen=True)
class Parity:
    """All checks, and what they come to."""

    terms: ParityTerms
    n: int
    checks: tuple[ParityCheck, ...]

    @property
    def verdict(self) -> str:
        """FAIL if a check found a difference; INCONCLUSIVE if one is open or could not run; else PASS."""
        outcomes = {check.outcome for check in self.checks}
        return FAIL if "different" in outcomes else INCONCLUSIVE if outcomes & {"open", "not run"} else PASS

    @property
    def passed(self) -> bool:
        """Every check ran and found what was measured."""
        return self.verdict == PASS

    @property
    def failed(self) -> bool:
        """A check found something else than what was measured."""
        return self.verdict == FAIL

    def check(self, name: str) -> ParityCheck:
        """The row of one check. Raises KeyError if there is none."""
        return {check.name: check for check in self.checks}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain types for `parity.json`.

        Keys: verdict, n, dtype, is_quantised, tolerance {max_frac, mean_frac, reason} (null if quantised), metric,
        level, max_drop, min_agreement (null unless quantised); checks: [{check, outcome, sentence, figures}].
        """
        terms = self.terms
        limit = None if terms.is_quantised else TOLERANCES[terms.dtype]
        return {
            "verdict": self.verdict,
            "n": self.n,
            "dtype": terms.dtype,
            "is_quantised": terms.is_quantised,
            "tolerance": limit and {"max_frac": limit.max_frac, "mean_frac": limit.mean_frac, "reason": limit.reason},
            "metric": terms.metric,
            "level": terms.level,
            "max_drop": terms.max_drop,
            "min_agreement": terms.min_agreement if terms.is_quantised else None,
            "checks": [
                {"check": c.name, "outcome": c.outcome, "sentence": c.sentence, "figures": dict(c.figures)}
                for c in self.checks
            ],
        }


def parity(reference: Reading, candidate: Reading, rows: ParityRows, terms: ParityTerms | None = None) -> Parity:
    """Compare two readings of the same n rows; every check is a row, also one that could not run.

    Raises EvidenceError if there are no rows, the counts of rows disagree, a label lies outside the reference's
    classes, or its logits are not finite;
    UsageError for a number format without a tolerance.
    """
    terms = terms or ParityTerms()
    n = len(rows.example_id)
    if not terms.is_quantised and terms.dtype not in TOLERANCES:
        raise UsageError(
            f"There is no tolerance for logits of {terms.dtype!r}.", remedy=f"Known are {', '.join(TOLERANCES)}."
        )
    if not n:
        raise EvidenceError("Parity cannot be judged: there are no rows to compare.")
    for whose, reading in (("reference", reference), ("candidate", candidate)):
        for what, column in (("logits", reading.logits), ("token ids", reading.tokens)):
            if column is not None and len(column) != n:
                raise EvidenceError(f"The {whose} gives {what} of {len(column)} rows where {n} were read.")
    for what, given in (("groups", rows.group), ("labels", rows.label), ("folds", rows.fold)):
        if given is not None and len(given) != n:
            raise EvidenceError(f"{len(given)} {what} were given for {n} rows.")
    if reference.logits.ndim != 2 or not np.isfinite(reference.logits).all():
        raise EvidenceError("The reference's own logits are not a table of finite numbers.")
    n_classes = reference.logits.shape[1]
    if rows.label is not None and not ((rows.label >= 0) & (rows.label < n_classes)).all():
        raise EvidenceError(f"A row has a label outside the {n_classes} classes of the reference's logits.")
    head = _head(reference, candidate)
    checks = [head, _label_names(reference, candidate), _tokens(reference, candidate, rows)]
    if head.outcome != "same":
        checks += [not_run(name, "the heads have different shapes") for name in ("logits", "labels", "score")]
    elif not np.isfinite(candidate.logits).all():
        checks.append(_not_finite(candidate, rows))
        checks += [not_run(name, "a logit is not finite") for name in ("labels", "score")]
    else:
        ours, theirs = (np.asarray(reading.logits, dtype=np.float64) for reading in (reference, candidate))
        pair = Pair(ours, theirs, rows, terms)
        checks += [logits_check(pair), labels_check(pair), score_check(pair)]
    return Parity(terms, n, tuple(checks))


def _head(reference: Reading, candidate: Reading) -> ParityCheck:
    n_classes, shape = reference.logits.shape[1], candidate.logits.shape
    figures = {"reference": n_classes, "candidate": shape[1] if len(shape) == 2 else list(shape[1:])}
    if shape == reference.logits.shape:
        return ParityCheck("head", "same", f"Both give {n_classes} logits a row.", figures)
    given = " x ".join(str(size) for size in shape[1:]) or "1"
    return ParityCheck(
        "head",
        "different",
        f"The measured artifact gives {n_classes} logits a row, the export {given}:"
        " its head is missing or another one.",
        figures,
    )


def _label_names(reference: Reading, candidate: Reading) -> ParityCheck:
    ours, theirs = list(reference.label_names), list(candidate.label_names)
    figures = {"reference": ours, "candidate": theirs}
    if ours == theirs:
        return ParityCheck("label_names", "same", f"The same {len(ours)} names in the same order.", figures)
    if sorted(ours) == sorted(theirs):
        k = next(k for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
        told = f"The same names in another order: class {k} is {ours[k]!r} here and {theirs[k]!r} in the export."
    else:
        sides = ([name for name in mine if name not in other] for mine, other in ((ours, theirs), (theirs, ours)))
        measured, exported = (", ".join(map(repr, names[:5])) or "none" for names in sides)
        told = (
            f"{len(ours)} names were measured, the export has {len(theirs)};"
            f" only measured: {measured}; only in the export: {exported}."
        )
    return ParityCheck("label_names", "different", told, figures)


def _tokens(reference: Reading, candidate: Reading, rows: ParityRows) -> ParityCheck:
    if reference.tokens is None or candidate.tokens is None:
        return not_run("tokens", (candidate if candidate.tokens is None else reference).tokens_not_run)
    pairs = [
        ([int(t) for t in a], [int(t) for t in b]) for a, b in zip(reference.tokens, candidate.tokens, strict=True)
    ]
    differing = [i for i, (a, b) in enumerate(pairs) if a != b]
    if not differing:
        return ParityCheck("tokens", "same", f"All {len(pairs)} rows have the same token ids.", {"n_differing": 0})
    first, (ours, theirs) = differing[0], pairs[differing[0]]
    shared = min(len(ours), len(theirs))
    position = next((k for k in range(shared) if ours[k] != theirs[k]), shared)
    here, there = (f"{ids[position]}" if position < len(ids) else "the end" for ids in (ours, theirs))
    example = str(rows.example_id[first])
    return ParityCheck(
        "tokens",
        "different",
        f"{len(differing)} of {len(pairs)} rows are cut into other token ids; first, example {example!r} at position"
        f" {position}: {here} was measured, the export has {there}.",
        {"n_differing": len(differing), "example_id": example, "position": position},
    )


def _not_finite(candidate: Reading, rows: ParityRows) -> ParityCheck:
    bad = np.flatnonzero(~np.isfinite(candidate.logits).all(axis=1))
    example = str(rows.example_id[bad[0]])
    return ParityCheck(
        "logits",
        "different",
        f"{len(bad)} rows have a logit that is not finite; the first is example {example!r}.",
        {"n_not_finite": len(bad), "example_id": example},
    )
