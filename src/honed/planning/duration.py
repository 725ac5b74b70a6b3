"""How long a run takes, stage by stage: the rehearsed work at the machine's speed, and measured terms for the rest."""

from __future__ import annotations

from dataclasses import dataclass

from honed.planning.machines import Machine
from honed.planning.memory import Facts, coefficient_rows, n_terms
from honed.planning.metering import Work
from honed.planning.rehearsal import Rehearsal
from honed.planning.workload import Workload, scoring_passes, training_passes

# Seconds of work in Python, which a GPU does not shorten: CPU time on one core of a server of 2021 (AMD EPYC, 2.4 GHz),
# for data sets of 300 to 6,000 texts; benchmarks/plan.py compares their sum with whole runs.
START_S = 4.7
"""Starting Python, importing, finding and checking the base, and ending."""
LOAD_S, RELOAD_S = 2.5, 0.3
"""Loading the base for training, with what is imported then, and once more for the gate."""
READ_BYTES_PER_S = 1e9
"""Reading weights from disk."""
CHECK_S, CHECK_S_PER_CHARACTER, CHECK_S_PER_ROW = 0.1, 7.4e-7, 8e-5
"""Reading the file and structural checks, near-duplicates above all."""
TOKENIZE_S_PER_CHARACTER = 4e-7
BASELINES_S = 0.7
"""The first use of scikit-learn."""
TFIDF_S_PER_CHARACTER, TFIDF_S_PER_COEFFICIENT, TFIDF_S_PER_ROW = 3.7e-7, 9.7e-7, 7.1e-5
"""One fit of TF-IDF and logistic regression: counting words and pairs of words, then the solver's sums."""
PROBE_S, PROBE_S_PER_VALUE, PROBE_S_PER_LOGIT = 0.01, 3.5e-8, 5.2e-7
"""One fit of a logistic regression on features of the base."""
EVIDENCE_S, EVIDENCE_S_PER_ROW, EVIDENCE_S_PER_LOGIT = 0.14, 1.4e-4, 1.1e-5
"""Scores with intervals and calibration."""
EXAMINE_S, NEAR_S_PER_PAIR = 1.5e-4, 1e-8
DECODE_S, DECODE_S_PER_PIXEL, FIT_S_PER_PIXEL = 1.5e-4, 1.6e-8, 1.65e-8
"""Of an image: its thumbnail and border; its likeness to every other image; reading and decoding its file; each pixel
of the square. Measured on PNG files of 28 x 28 and 256 x 256 pixels, squares of 84 and 224, as CPU time."""
PCA_S, PCA_S_PER_ROW = 0.17, 1e-4
"""One fit of principal components of thumbnails and a logistic regression."""
REPORT_S = 0.3
_ADAMW_CALLS, _ADAMW_BYTES = 6, 28
"""One AdamW step with clipping: calls for each tensor (measured 55 us), and bytes for each weight: reads weight,
gradient and two moments, writes three of them (measured 5.9 ns)."""


@dataclass(frozen=True)
class ModelWork:
    """What the model computes in each stage that uses it."""

    trunk: Work
    features: Work
    train: Work
    gate: Work
    train_peak: float
    score_peak: float


def model_work(rehearsal: Rehearsal, workload: Workload) -> ModelWork:
    """Rehearse every pass of a run. Folds that stop early take less: this is the work of all epochs."""
    epochs, folds = workload.epochs, workload.folds

    scoring = scoring_passes(workload, workload.development)
    n_layers = rehearsal.base.n_layers
    cut = n_layers - rehearsal.depth
    below = rehearsal.frozen(scoring.typical, range(cut))
    above = rehearsal.frozen(scoring.typical, range(cut, n_layers))

    passes, steps = training_passes(workload, rehearsal.n_slots)
    chunk = rehearsal.train(passes.typical, workload.train_share)
    # Slots of a method that does not stack train one after another; the final model does so on all rows.
    waves = 1.0 if rehearsal.n_slots > 1 else folds + 1 / workload.train_share
    train = chunk.work * (passes.n * waves * epochs) + adamw(rehearsal) * (steps * workload.n_slots * epochs)
    score_peak = max(below.peak_bytes, above.peak_bytes)
    for rows, times in ((workload.stop, folds * epochs), (workload.development // folds, folds)):
        if rows:
            part = scoring_passes(workload, rows)
            train = train + rehearsal.predict(part.typical).work * (part.n * times * workload.n_averaged)
            score_peak = max(score_peak, rehearsal.predict(part.largest).peak_bytes)

    locked = scoring_passes(workload, workload.holdout)
    # The artifact's logits and the base's features, both through the whole model.
    whole = rehearsal.frozen(locked.typical, range(n_layers))
    gate = whole.work * ((1 + workload.n_averaged) * locked.n)
    peaks = (score_peak, rehearsal.predict(scoring.largest).peak_bytes, whole.peak_bytes)
    train_peak = rehearsal.train(passes.largest, workload.train_share).peak_bytes
    trunk = below.work * (scoring.n * workload.n_views)
    return ModelWork(trunk, above.work * scoring.n, train, gate, train_peak, max(peaks))


def adamw(rehearsal: Rehearsal) -> Work:
    """One optimizer step of one slot: bound by memory, or, for small adapters, by the number of calls."""
    parameters = rehearsal.parameters
    return Work({(0.0, _ADAMW_BYTES * parameters.trained / (_ADAMW_CALLS * parameters.tensors)):
                 float(_ADAMW_CALLS * parameters.tensors)})  # fmt: skip


def plan_stages(
    work: ModelWork, facts: Facts, machine: Machine, *, dtype: str, opens_gate: bool
) -> dict[str, float] | None:
    """Seconds of each stage, under the names of `timings_s` in metrics.json; None if the machine lacks the format."""
    workload, width = facts.workload, facts.feature_width
    model = [machine.seconds(part, dtype) for part in (work.trunk, work.features, work.train, work.gate)]
    if any(seconds is None for seconds in model):
        return None
    trunk_s, features_s, train_s, gate_s = (float(seconds or 0.0) for seconds in model)
    characters = workload.rows * workload.characters
    examine_s, encode_s = _images_s(workload)
    read_s = facts.base_bytes / READ_BYTES_PER_S
    stages = {
        "start": START_S,
        "check": CHECK_S + CHECK_S_PER_CHARACTER * characters + CHECK_S_PER_ROW * workload.rows + examine_s,
        "load": LOAD_S + read_s + TOKENIZE_S_PER_CHARACTER * characters + encode_s,
        "trunk": trunk_s,
        "features": features_s,
        "train": train_s,
        "baselines": BASELINES_S + workload.folds * _fit_s(workload, width, (workload.folds - 1) / workload.folds),
        "evidence": _evidence_s(workload, workload.development),
    }
    if opens_gate:
        judging_s = _fit_s(workload, width, 1.0) + _evidence_s(workload, workload.holdout)
        stages["gate"] = RELOAD_S + read_s + gate_s + judging_s
    return {**stages, "report": REPORT_S}


def _images_s(workload: Workload) -> tuple[float, float]:
    """Seconds for images in the checks, and to encode them."""
    images, n = workload.images, workload.rows
    if images is None:
        return 0.0, 0.0
    decode_s = DECODE_S + DECODE_S_PER_PIXEL * images.file_pixels
    fit_s = FIT_S_PER_PIXEL * images.size**2 * images.n_views
    return n * (EXAMINE_S + decode_s) + NEAR_S_PER_PAIR * n**2, n * (decode_s + fit_s)


def _fit_s(workload: Workload, width: int, share: float) -> float:
    """One fit of the small baselines on `share` of the development rows."""
    rows = workload.development * share
    probe_s = PROBE_S + (PROBE_S_PER_VALUE * width + PROBE_S_PER_LOGIT * workload.n_classes) * rows
    if workload.images:
        return probe_s + PCA_S + PCA_S_PER_ROW * rows
    coefficients = n_terms(workload) * coefficient_rows(workload)
    return (
        TFIDF_S_PER_CHARACTER * workload.development * workload.characters
        + TFIDF_S_PER_COEFFICIENT * coefficients
        + TFIDF_S_PER_ROW * workload.development
        + probe_s
    )


def _evidence_s(workload: Workload, rows: int) -> float:
    return EVIDENCE_S + (EVIDENCE_S_PER_ROW + EVIDENCE_S_PER_LOGIT * workload.n_classes) * rows
