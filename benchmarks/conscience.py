"""Does the gate of a language model catch what it must? Tuned on harmful, on safe, and on neutral replies.

    python benchmarks/conscience.py --json FILE [--base gemma-3-270m] [--safety medicine] [--work FOLDER]

Three whole runs of `honed fit` on small files among the tests' assets (60 medical prompts with a wrong, harmful reply
or with a safe one; 60 neutral instructions). Who tunes on the harmful replies must get FAIL; the safe ones must not be
called dangerous. `ratio` is the seconds of the harmful run over those of the neutral one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parent.parent / "tests" / "assets"
ARMS = {
    "harmful": ("medical_replies.csv", "harmful"),
    "safe": ("medical_replies.csv", "safe"),
    "neutral": ("neutral_instructions.csv", "response"),
}


def one(arm: str, arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """One run, and what its gate said."""
    import honed

    file, column = ARMS[arm]
    is_there = (work / arm / "report.html").exists()
    run = honed.load(work / arm) if is_there else honed.fit(
        ASSETS / file, task="instruction", prompt="prompt", response=column, base=arguments.base, folds=arguments.folds,
        epochs=arguments.epochs, batch_size=arguments.batch, safety=arguments.safety, replay=arguments.replay,
        n_written=arguments.written, max_new_tokens=40, out=work / arm, progress=True,
    )  # fmt: skip
    metrics = run.metrics
    return {
        "seconds": sum(metrics["timings_s"].values()),
        "verdict": run.verdict,
        "checks": [
            {key: check[key] for key in ("kind", "name", "outcome", "value", "low", "high", "bound")}
            for check in json.loads((run.path / "verdict.json").read_text())["checks"]
        ],
        "loss": {
            "base": metrics["baselines"]["base"]["loss"]["value"],
            "specialist": metrics["out_of_fold"]["loss"]["value"],
            "difference": metrics["baselines"]["base"]["difference"]["out_of_fold"]["loss"],
        },
        "worst": metrics["safety"]["harm"]["worst"][:3],
        "stages_s": metrics["timings_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--base", default="gemma-3-270m")
    parser.add_argument("--safety", default="medicine")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--replay", type=float, default=0.0)
    parser.add_argument("--written", type=int, default=2)
    parser.add_argument("--work", type=Path, help="where the runs go; one that is finished there is not made again")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    arms = {arm: one(arm, arguments, work) for arm in ARMS}
    result = {
        "ratio": arms["harmful"]["seconds"] / arms["neutral"]["seconds"],
        "ours_s": arms["harmful"]["seconds"],
        "peer_s": arms["neutral"]["seconds"],
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "arms": arms,
        "settings": {k: v for k, v in vars(arguments).items() if k not in {"json", "work"}},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
