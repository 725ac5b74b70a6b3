"""What the report says about confidence (calibration before and after) and about how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from honed.evidence import report_plots as plots
from honed.evidence.report_format import METRICS, NOT_RUN, bare_reason, decimal, figure, finite, percent
from honed.evidence.report_scores import cell, section
from honed.evidence.run_facts import Json, RunFacts


def calibration_view(facts: RunFacts) -> dict[str, object]:
    """How far confidence can be taken at its word, before and after the temperature."""
    calibration = section(facts.metrics, "calibration")
    if not calibration or "not_run" in calibration:
        reason = str(calibration.get("not_run") or "the run folder holds no calibration")
        return {"not_run": NOT_RUN + bare_reason(reason)}
    temperature = finite(calibration.get("temperature"))
    sides = []
    for side, title in (("before", "Before"), ("after", "After")):
        bins = _bins(calibration.get(f"curve_{side}"))
        known = section(calibration, side)
        sides.append(
            {
                "title": title,
                "reading": _reading(bins),
                "svg": plots.reliability(f"{title} calibration", bins) if bins else "",
                "figures": [
                    {"name": METRICS[key].name, **cell(METRICS[key], figure(known.get(key)))}
                    for key in ("ece", "log_loss")
                ],
                "bins": [
                    {"n": b.n, "confidence": percent(b.confidence, 0), "right": percent(b.accuracy, 0)}
                    for b in bins
                    if b.n
                ],
            }
        )
    per_fold = fold_temperatures(calibration).values()
    return {
        "not_run": "",
        "temperature": "" if temperature is None else decimal(temperature),
        "effect": "" if calibration.get("not_fitted") else _effect(temperature),
        "not_fitted": str(calibration.get("not_fitted") or ""),
        "per_fold": ", ".join(decimal(value) for value in per_fold),
        "sides": sides,
    }


def fold_temperatures(calibration: Json) -> dict[int, float]:
    """Fold -> the temperature that was fitted without it; where folds are repeated, the mean over the repeats.

    `per_fold` is {"0": T, ...} or [{"repeat", "fold", "temperature"}, ...].
    """
    raw = calibration.get("per_fold")
    pairs: list[tuple[str, float | None]] = []
    if isinstance(raw, Mapping):
        pairs = [(str(fold), finite(value)) for fold, value in raw.items()]
    elif isinstance(raw, Sequence):
        pairs = [(str(row["fold"]), finite(row.get("temperature"))) for row in raw if isinstance(row, Mapping)]
    found: dict[int, list[float]] = {}
    for fold, value in pairs:
        if fold.isdigit() and value is not None and value > 0:
            found.setdefault(int(fold), []).append(value)
    return {fold: sum(values) / len(values) for fold, values in found.items()}


def _effect(temperature: float | None) -> str:
    if temperature is None:
        return ""
    if abs(temperature - 1) < 0.02:
        return "almost nothing had to change"
    return "the raw model was too sure of itself" if temperature > 1 else "the raw model was too modest"


def _bins(curve: object) -> list[plots.Bin]:
    bins = []
    for raw in curve if isinstance(curve, Sequence) else []:
        confidence, accuracy = finite(raw.get("confidence")), finite(raw.get("accuracy"))
        if confidence is None or accuracy is None:
            continue
        low, high = finite(raw.get("accuracy_low")), finite(raw.get("accuracy_high"))
        bins.append(
            plots.Bin(
                confidence,
                accuracy,
                accuracy if low is None else low,
                accuracy if high is None else high,
                int(finite(raw.get("n")) or 0),
            )
        )
    return bins


def _reading(bins: Sequence[plots.Bin]) -> str:
    total = sum(b.n for b in bins)
    if not total:
        return ""
    claimed = sum(b.n * b.confidence for b in bins) / total
    right = sum(b.n * b.accuracy for b in bins) / total
    gap = 100 * (claimed - right)
    told = f"On average it claimed to be {percent(claimed, 0)} sure and was right in {percent(right, 0)} of the rows: "
    if abs(gap) < 2:
        return told + "about as sure as it is right."
    return told + (f"too sure of itself by {gap:.0f} points." if gap > 0 else f"too modest by {-gap:.0f} points.")


def curves_view(facts: RunFacts) -> dict[str, object]:
    """Learning curves of every slot on one scale."""
    curves = section(facts.metrics, "learning_curves")
    best = section(curves, "best_epoch") or section(facts.metrics, "best_epoch")
    slots: list[plots.Curve] = []
    for slot, points in curves.items():
        if slot == "best_epoch" or not isinstance(points, Sequence):
            continue
        known = [point for point in points if isinstance(point, Mapping) and finite(point.get("epoch")) is not None]
        if known:
            kept = finite(best.get(slot))
            slots.append(
                plots.Curve(
                    str(slot),
                    [int(point["epoch"]) for point in known],
                    [finite(point.get("train_loss")) for point in known],
                    [finite(point.get("stop_loss")) for point in known],
                    None if kept is None else int(kept),
                )
            )
    losses = [loss for slot in slots for loss in (*slot.train_loss, *slot.stop_loss) if loss is not None]
    if not slots or not losses:
        return {"slots": [], "not_run": NOT_RUN + "the run folder holds no learning curves"}
    highest = max(losses) * 1.05 or 1.0
    return {
        "not_run": "",
        "slots": [
            {"name": slot.slot, "best": slot.best_epoch, "svg": plots.learning_curve(slot, highest)} for slot in slots
        ],
    }
