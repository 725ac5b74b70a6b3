"""Planted label noise: how much of it is found beside cleanlab, and how much accuracy cleaning wins back.

    python benchmarks/label_noise.py DATA.csv --json FILE [--rates .03,.1] [--noise uniform,confusion] [--draws 1]
        [--modes drop,weight] [--rows 3000] [--epochs 4]

The peer is what a user would run instead: cleanlab's label quality (self-confidence, its default) on the out-of-fold
probabilities of TF-IDF + logistic regression, on the same folds and the same spoilt labels. `difference` is ours - peer
in the area under the precision-recall curve, with the interval of a paired bootstrap over groups. `ratio` is seconds
of the whole audit over those of the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

N_RESAMPLES = 500


def peer_quality(audit: Any, label: np.ndarray, texts: list[str]) -> np.ndarray:
    from cleanlab.rank import get_label_quality_scores

    from honed.evidence.baselines import BaselineRows, out_of_fold_baseline
    from honed.evidence.metrics import softmax

    table = audit.arms[0].table
    splits = [(k, np.flatnonzero(table.fold != k), np.flatnonzero(table.fold == k)) for k in np.unique(table.fold)]
    rows = BaselineRows(texts, label, table.example_id, len(audit.label_names))
    found = out_of_fold_baseline("tfidf_logreg", rows, splits)
    logits = np.empty_like(found.logits)
    logits[np.concatenate([test for _, _, test in splits])] = found.logits
    return np.asarray(get_label_quality_scores(label, softmax(logits)))


def paired_areas(is_error: np.ndarray, ours: np.ndarray, peer: np.ndarray, group: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import average_precision_score

    _, index = np.unique(group, return_inverse=True)
    n_groups, rng = index.max() + 1, np.random.default_rng(0)
    drawn = []
    for _ in range(N_RESAMPLES):
        weight = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)[index].astype(float)
        drawn.append(
            average_precision_score(is_error, -ours, sample_weight=weight)
            - average_precision_score(is_error, -peer, sample_weight=weight)
        )
    areas = average_precision_score(is_error, -ours), average_precision_score(is_error, -peer)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(areas[0] - areas[1])
    return {"ours": areas[0], "peer": areas[1], "difference": {"value": value, "low": float(low), "high": float(high)}}


def run(data: str, kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    from honed.bases import resolve
    from honed.config import make_config
    from honed.pipeline.audit import AuditOptions, audit
    from honed.pipeline.prepare import prepare

    values: dict[str, Any] = {"data": data, "seed": arguments.seed, "epochs": arguments.epochs}
    config = make_config(values | ({"group": arguments.group} if arguments.group else {}))
    rates = tuple(float(rate) for rate in arguments.rates.split(","))
    modes = tuple(mode for mode in arguments.modes.split(",") if mode)
    start = time.perf_counter()
    result = audit(config, AuditOptions(rates, kind, arguments.draws, modes, arguments.rows))  # type: ignore[arg-type]
    ours_s = time.perf_counter() - start
    whole = prepare(config, resolve("minilm")).dataset
    text = dict(zip(whole.example_id.tolist(), whole.inputs, strict=True))
    texts = [text[example] for example in result.arms[0].table.example_id.tolist()]
    start, finder = time.perf_counter(), []
    for scenario in result.scenarios:
        is_error = scenario.label != result.arms[0].table.label
        peer = peer_quality(result, scenario.label, texts)
        areas = paired_areas(is_error, scenario.found.quality, peer, result.group)
        finder.append({"rate": scenario.rate, "draw": scenario.draw, **areas})
        gap = areas["difference"]
        print(
            f"{Path(data).stem} {kind} {scenario.rate:.0%} draw {scenario.draw}: AUPRC {areas['ours']:.3f}, cleanlab "
            f"on TF-IDF {areas['peer']:.3f}, difference {gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        )
    figures = result.to_json()
    for rate in figures["rates"]:
        cost = rate["cost"]
        low, value, high = (100 * cost[end] for end in ("low", "value", "high"))
        print(f"  {rate['rate']:.0%}: accuracy {value:+.1f} points [{low:+.1f}, {high:+.1f}]")
        for name, arm in rate["arms"].items():
            if "won_back" in arm:
                print(f"    {name}: {arm['score']['value']:.3f}, won back {arm['won_back']}")
    return {"noise": kind, "finder": finder, "audit": figures, "ours_s": ours_s, "peer_s": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--group")
    parser.add_argument("--rates", default=".03,.1")
    parser.add_argument("--noise", default="uniform,confusion")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--modes", default="drop,weight")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    runs = [run(arguments.data, kind, arguments) for kind in arguments.noise.split(",")]
    ours_s, peer_s = (sum(one[key] for one in runs) for key in ("ours_s", "peer_s"))
    result = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "data": Path(arguments.data).stem, "rows": arguments.rows, "epochs": arguments.epochs,
        "ratio": ours_s / peer_s, "ours_s": ours_s, "peer_s": peer_s, "runs": runs,
    }  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
