"""FoldPlan: who trains, who decides when to stop, who is scored, and what stays locked."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from honed.data.dataset import Dataset, Rows
from honed.data.group_assignment import assign_groups
from honed.data.label_checks import groups_per_class
from honed.data.tables import write_parquet
from honed.errors import DataError, RunFolderError, UsageError

HOLDOUT = -1
NEVER_STOP = -1
_ALL_ROWS = -2


@dataclass(frozen=True)
class Split:
    """Positions (int64) of one fold's three disjoint parts."""

    train: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


@dataclass(frozen=True)
class FoldPlan:
    """The part of each of n rows, in the dataset's order; build it with `plan_folds`.

    example_id, group : (n,) strings.
    fold : (n,) int64, the fold whose test part holds the row; -1 is the locked holdout; `n_folds` is a row that every
        fold learns from and none is scored on (general rows that are replayed; they stand in no run's folds.parquet).
    stop : (n,) int64, the one fold for which the row belongs to the stop part (never the fold that tests it), or -1:
        the row is in no stop part. Stop parts are stratified by class, whole by group, and hold about `stop_frac` of
        the rows that the fold does not test.
    """

    example_id: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    fold: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]
    n_folds: int
    seed: int
    dataset_fingerprint: str

    def __len__(self) -> int:
        return len(self.example_id)

    @property
    def holdout(self) -> npt.NDArray[np.int64]:
        """Positions of the locked holdout."""
        return np.flatnonzero(self.fold == HOLDOUT)

    @property
    def development(self) -> npt.NDArray[np.int64]:
        """Positions of all rows but the holdout."""
        return np.flatnonzero(self.fold != HOLDOUT)

    @property
    def scored(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that some fold is scored on."""
        return np.flatnonzero((self.fold != HOLDOUT) & (self.fold < self.n_folds))

    def split(self, fold: int | None) -> Split:
        """The parts of one fold; None is the final model, which trains on the whole development part.

        Promises: train, stop and test are disjoint and together the development part; no group is split between
        them; the test parts of all folds partition the rows that are scored.

        Raises UsageError for a fold that the plan does not have.
        """
        nobody = np.zeros(0, dtype=np.int64)
        if fold is None:
            return Split(self.development, nobody, nobody)
        if not 0 <= fold < self.n_folds:
            raise UsageError(
                f"There is no fold {fold}.", remedy=f"The plan has the folds 0 to {self.n_folds - 1}, or None for all."
            )
        learns = (self.fold != HOLDOUT) & (self.fold != fold)
        stops = learns & (self.stop == fold)
        return Split(np.flatnonzero(learns & ~stops), np.flatnonzero(stops), np.flatnonzero(self.fold == fold))

    def write(self, path: Path) -> None:
        """Write the plan as Parquet; an interrupted write leaves no half file under this name."""
        import pyarrow as pa

        table = pa.table(
            {
                "example_id": pa.array(self.example_id.tolist(), pa.string()),
                "group": pa.array(self.group.tolist(), pa.string()),
                "fold": self.fold,
                "stop": self.stop,
            }
        )
        metadata = {
            "honed.n_folds": str(self.n_folds),
            "honed.seed": str(self.seed),
            "honed.dataset_fingerprint": self.dataset_fingerprint,
        }
        write_parquet(table.replace_schema_metadata(metadata), path)

    @staticmethod
    def read(path: Path) -> FoldPlan:
        """Read a plan that `write` wrote.

        Raises RunFolderError if the file is missing, truncated, or lacks a column or its metadata.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path).read()
            metadata = table.schema.metadata or {}
            return FoldPlan(
                example_id=np.array(table.column("example_id").to_pylist(), dtype=np.str_),
                group=np.array(table.column("group").to_pylist(), dtype=np.str_),
                fold=table.column("fold").to_numpy().astype(np.int64),
                stop=table.column("stop").to_numpy().astype(np.int64),
                n_folds=int(metadata[b"honed.n_folds"]),
                seed=int(metadata[b"honed.seed"]),
                dataset_fingerprint=metadata[b"honed.dataset_fingerprint"].decode(),
            )
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise RunFolderError(
                f"{path} cannot be read as a fold plan.",
                cause=str(error).splitlines()[0] if str(error) else type(error).__name__,
                remedy="If the run was interrupted before its folds were made, start it again with `honed fit`.",
            ) from error


def plan_folds(
    dataset: Dataset, *, folds: int = 5, holdout_frac: float = 0.15, stop_frac: float = 0.1, seed: int = 0
) -> FoldPlan:
    """Lock a holdout and divide the rest into folds, stratified by class, whole by group.

    holdout_frac : share of all rows that is locked; 0 locks nothing.
    stop_frac : share of the rows a fold may learn from that decides when it stops, at most 1 / (folds - 1), since
        no row serves two folds so; 0 gives empty stop parts.

    Promises: depends on nothing but the rows' groups and classes, and the seed: not on the order of the rows, nor on
    the names or order of the classes. With single-row groups, a class has the same number of rows in each fold, give
    or take one. Every class keeps at least one row in each train part if it can.

    Raises UsageError for parameters out of range, and DataError, naming all of them, if classes have fewer groups
    than folds and holdout need.
    """
    group_names, group_index = np.unique(dataset.group, return_inverse=True)
    check_parts(dataset, group_index, folds=folds, holdout_frac=holdout_frac, stop_frac=stop_frac)
    fractions = [(1 - holdout_frac) / folds] * folds + ([holdout_frac] if holdout_frac > 0 else [])
    counts: list[Counter[int]] = [Counter() for _ in group_names]
    for g, label in zip(group_index.tolist(), dataset.label.tolist(), strict=True):
        counts[g][label] += 1
    part = assign_groups(
        group_names.tolist(),
        counts,
        fractions,
        salt=f"fold {seed}",
        fill=set(dataset.label.tolist()),
        forbidden=[-1] * len(counts),
    )
    group_fold = np.where(part == folds, HOLDOUT, part)
    group_stop = np.full(len(group_names), NEVER_STOP, dtype=np.int64)
    if stop_frac > 0:
        _assign_stop(group_names, group_fold, group_stop, counts, stop_frac=stop_frac, seed=seed)
    return FoldPlan(
        example_id=dataset.example_id,
        group=dataset.group,
        fold=group_fold[group_index].astype(np.int64),
        stop=group_stop[group_index],
        n_folds=folds,
        seed=seed,
        dataset_fingerprint=dataset.fingerprint,
    )


def _assign_stop(
    group_names: npt.NDArray[np.str_],
    group_fold: npt.NDArray[np.int64],
    group_stop: npt.NDArray[np.int64],
    counts: list[Counter[int]],
    *,
    stop_frac: float,
    seed: int,
) -> None:
    """Choose the fold for which each group stops the training (in place); most serve none."""
    inner = np.flatnonzero(group_fold != HOLDOUT)
    folds = int(group_fold.max()) + 1
    share = min(stop_frac, 1 / (folds - 1)) * (folds - 1) / folds
    strata = [counts[g] + Counter({_ALL_ROWS: counts[g].total()}) for g in inner]
    part = assign_groups(
        group_names[inner].tolist(),
        strata,
        [share] * folds + ([1 - folds * share] if folds * share < 1 - 1e-9 else []),
        salt=f"stop {seed}",
        fill={_ALL_ROWS},
        forbidden=group_fold[inner].tolist(),
    )
    group_stop[inner] = np.where(part == folds, NEVER_STOP, part)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for g in inner.tolist():
        for label in counts[g]:
            members[label].append(g)
    for groups in members.values():
        for k in range(folds):
            learns = [g for g in groups if group_fold[g] != k]
            # A class too small to be in both trains: it must be learned before it can tell when to stop.
            if all(group_stop[g] == k for g in learns):
                group_stop[learns] = NEVER_STOP


def check_parts(rows: Rows, group: npt.NDArray[np.int64], *, folds: int, holdout_frac: float, stop_frac: float) -> None:
    """Raise what `plan_folds` would raise, without making the folds. group : (n,) numbers of the rows' groups."""
    _check_parameters(folds, holdout_frac, stop_frac)
    _check_sizes(rows, group, folds, folds + (holdout_frac > 0))


def _check_parameters(folds: int, holdout_frac: float, stop_frac: float) -> None:
    for flag, value, low, high, valid in (
        ("--folds", folds, 2, 100, 2 <= folds <= 100),
        ("--holdout", holdout_frac, 0, 0.5, 0 <= holdout_frac <= 0.5),
        ("--stop", stop_frac, 0, 0.5, 0 <= stop_frac <= 0.5),
    ):
        if not valid:
            raise UsageError(
                f"{flag} must lie in [{low}, {high}]. Got {value} instead.",
                remedy="The usual values are --folds 5, a holdout of 0.15 and a stop part of 0.1.",
            )


def _check_sizes(dataset: Rows, group: npt.NDArray[np.int64], folds: int, n_parts: int) -> None:
    """Raise DataError if any class, or the whole table, has fewer groups than parts."""
    groups = groups_per_class(dataset.label, group, len(dataset.label_names)).tolist()
    rows = Counter(dataset.label.tolist())
    holdout = " and the holdout" if n_parts > folds else ""
    n_groups = len(np.unique(group))
    if n_groups < n_parts:
        raise DataError(
            f"The {len(dataset)} rows form {n_groups} group{'s' * (n_groups != 1)}, but folds={folds}{holdout} need at"
            f" least {n_parts}.",
            cause="Rows of one group (the --group column, and texts that are nearly the same) are never split.",
            remedy="Use fewer --folds, add rows of other groups, or name another column with --group.",
        )
    small = sorted((groups[j], name) for j, name in enumerate(dataset.label_names) if 0 < groups[j] < n_parts)
    if not small:
        return

    def size(n: int, name: str) -> str:
        n_rows = rows[dataset.label_names.index(name)]
        return f"{n_rows} row{'s' * (n_rows != 1)}" + (f" in {n} group{'s' * (n != 1)}" if n != n_rows else "")

    fewest, first = small[0]
    n_lacking = n_parts - fewest
    affordable = fewest - (n_parts - folds)
    fewer_folds = f"Use --folds {affordable}, merge" if affordable >= 2 else "Merge"
    if len(small) == 1:
        raise DataError(
            f"Class {first!r} has {size(fewest, first)} but folds={folds}:"
            f" {n_lacking} of the {folds} test folds{holdout} would hold none, so its recall is undefined.",
            remedy=f"{fewer_folds} the class, or add {n_lacking} row{'s' * (n_lacking != 1)}"
            f"{' of other groups' if fewest != rows[dataset.label_names.index(first)] else ''}.",
        )
    raise DataError(
        f"{len(small)} classes are too small for folds={folds}{holdout}: "
        + ", ".join(f"{name!r} ({size(n, name)})" for n, name in small)
        + ".",
        cause=f"Each of the {folds} test folds{holdout} needs a row of every class, else its recall is undefined there:"
        f" at least {n_parts} rows of different groups a class.",
        remedy=f"{fewer_folds} the classes, or add rows to them.",
    )
