"""The tables of preference tuning: the pairs as rows of two classes, and the likelihoods behind their rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.preferences import Preference
from honed.data.tables import write_parquet
from honed.events import Emitter
from honed.evidence.preferences import PAIR
from honed.oof import Predictions
from honed.pipeline.bench import Bench
from honed.pipeline.written import as_text
from honed.serving.replies import losses
from honed.tasks.preference import encode_pairs
from honed.training.stack import Stack

TEXTS: Mapping[str, Callable[[Preference], str]] = {
    "prompt": lambda pair: as_text(pair.prompt()),
    "chosen": lambda pair: pair.reply(),
    "rejected": lambda pair: pair.rejected,
}


@dataclass(frozen=True)
class Likelihoods:
    """Log-likelihoods in nats of n pairs of replies, chosen and rejected.

    part : "out_of_fold" or "holdout".    base, specialist : (n, 2).    n_tokens : (n, 2) of the replies.
    """

    part: str
    example_id: npt.NDArray[np.str_]
    base: npt.NDArray[np.float64]
    specialist: npt.NDArray[np.float64]
    n_tokens: npt.NDArray[np.int64]

    def rewards(self, beta: float) -> npt.NDArray[np.float64]:
        """The implicit rewards: (n, 2)."""
        return beta * (self.specialist - self.base)


def preference_table(
    example_id: npt.NDArray[np.str_], fold: npt.NDArray[np.int64], rewards: npt.NDArray[np.float64]
) -> Predictions:
    """Pairs as rows of the class `chosen` (0), whose logits are the rewards: (n, 2)."""
    zeros = np.zeros(len(rewards), dtype=np.int64)
    loss = np.logaddexp(0.0, rewards[:, 1] - rewards[:, 0])  # -log sigmoid(chosen - rejected)
    return Predictions(example_id, zeros, fold, zeros, loss, np.ones(len(rewards)), rewards)


def out_of_fold_likelihoods(bench: Bench, plan: FoldPlan, oof: Predictions) -> Likelihoods:
    """The likelihoods from which the rewards of the out-of-fold table were made. oof : of the rows `plan.scored`."""
    places = bench.inputs.at(plan.scored)
    encoded = [bench.inputs.encoded[place] for place in places]
    base = np.array([row.reference for row in encoded]).reshape(-1, 2)
    n_tokens = np.array([row.is_target.sum() for row in encoded], dtype=np.int64).reshape(-1, 2)
    assert oof.logits is not None
    return Likelihoods("out_of_fold", oof.example_id, base, base + oof.logits / bench.stack.task.beta, n_tokens)


def holdout_likelihoods(stack: Stack, held: Dataset, emitter: Emitter) -> Likelihoods:
    """The likelihoods of the locked pairs under the base and slot 0 of a stack that reads instructions."""
    found = losses(stack, encode_pairs(stack.task.reader, held.inputs), emitter, slot=0)
    base, own = (-(loss * found.n_tokens).reshape(-1, 2) for loss in (found.base, found.specialist))
    return Likelihoods("holdout", held.example_id, base, own, found.n_tokens.reshape(-1, 2))


def write_likelihoods(path: Path, found: Likelihoods, pairs: Sequence[Preference] | None = None) -> None:
    """preferences.parquet; what stands in it for another part stays. pairs : whose texts are kept, too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept: Sequence[Preference | None] = [None] * len(found.example_id) if pairs is None else pairs
    table = pa.table(
        {
            "example_id": pa.array(found.example_id.tolist(), pa.string()),
            "part": pa.array([found.part] * len(found.example_id), pa.string()),
            **{
                f"{who}_{reply}": values[:, j]
                for who, values in (("base", found.base), ("specialist", found.specialist), ("n", found.n_tokens))
                for j, reply in enumerate(PAIR)
            },
            **{
                name: pa.array([None if pair is None else text(pair) for pair in kept], pa.string())
                for name, text in TEXTS.items()
            },
        }
    )
    if path.exists():
        before = pq.read_table(path)
        keep = [value != found.part for value in before.column("part").to_pylist()]
        table = pa.concat_tables([before.filter(pa.array(keep)).select(table.column_names), table])
    write_parquet(table, path)
