"""From a table to a checked `Dataset`, with the rows that had to be left out."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from honed.data.cells import column_text
from honed.data.class_names import class_named
from honed.data.dataset import UNLABELLED, Dataset, content_ids, content_of
from honed.data.image_files import examine_all, image_traits, patient_groups
from honed.data.images import UnreadableImage
from honed.data.issue_table import Issue, IssueTable
from honed.data.readers import folder_of
from honed.data.roles import ResolvedRoles, Roles, resolve_roles
from honed.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from honed.data.conversations import ConversationFormat

MIN_ROWS = 4
MAX_CLASSES = 1000
MIN_MEAN_ROWS_PER_CLASS = 2
LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class LoadedData:
    """What `load_dataset` found.

    dataset : the usable rows.        issues : rows left out (`empty_text`, `unreadable_image`, `missing_label`) and
    notices on roles.
    roles : resolved.        n_rows : rows of the file.        notices : sentences for the user about guessed columns.
    format : of conversations, how their rows are written; None for other data.
    """

    dataset: Dataset
    issues: IssueTable
    roles: Roles
    n_rows: int
    notices: tuple[str, ...] = ()
    format: ConversationFormat | None = None


@dataclass(frozen=True)
class Cells:
    """The cells of every part, n each.

    inputs : texts or images.    unusable : why an input cannot be used, "" where it can.
    """

    inputs: list[Any]
    unusable: list[str]
    label: list[str]
    group: list[str]
    id: list[str] | None
    columns: dict[str, list[str]]
    traits: dict[str, list[str]]
    unread: tuple[str, ...]
    reader: list[str]


def load_dataset(
    table: pa.Table, roles: Roles, *, require_label: bool, label_names: tuple[str, ...] | None = None
) -> LoadedData:
    """Build the dataset.

    With `require_label` rows without text, readable image or label are left out, each a row of `issues`. Without it
    (prediction) every row is kept in the file's order: an empty text is "", an image that cannot be read an
    `UnreadableImage`, an absent or unknown label `UNLABELLED`.
    label_names : the classes of an existing model; None takes those of the column, sorted (numerically if all are
        integers).

    With `require_label` the other columns, group and id among them, come along as `traits` for the checks; prediction
    reads none of them.

    Labels, groups and ids lose surrounding blanks. Without an id column, ids are made of the content; without a
    group column, every row is its own group, but the images of one DICOM patient are one.

    Raises UsageError for columns that do not exist; DataError for duplicate or missing ids, fewer than 4 usable
    rows, one class, a label outside `label_names`, and a label column that looks like an id or a number.
    """
    found = resolve_roles(table, roles, require_label=require_label)
    cells = read_cells(table, found, with_traits=require_label)
    n = table.num_rows
    notices = list(found.notices)
    if found.roles.group is None and roles.group is None and any(patients := patient_groups(cells.inputs)):
        cells.group[:] = patients
        notices.append("The images of one DICOM patient are kept together in one fold; --group '' switches it off.")
    unlabelled = [not label for label in cells.label]
    keep = [i for i in range(n) if not require_label or not (cells.unusable[i] or unlabelled[i])]
    if not keep:
        raise nothing_left(found.roles, n, sum(map(bool, cells.unusable)), sum(unlabelled), cells.unusable[0])
    example_id = _example_ids(cells, found.roles)
    names = label_names if label_names is not None else sorted_label_names(cells.label[i] for i in keep)
    if require_label:
        check_labels(Counter(cells.label[i] for i in keep), found.roles, label_names)
    index = {name: j for j, name in enumerate(names)}
    dataset = Dataset(
        example_id=np.array([example_id[i] for i in keep], dtype=np.str_),
        inputs=[cells.inputs[i] for i in keep],
        label=np.array([index.get(cells.label[i], UNLABELLED) for i in keep], dtype=np.int64),
        group=np.array([cells.group[i] or example_id[i] for i in keep], dtype=np.str_),
        label_names=names,
        row=np.array(keep, dtype=np.int64),
        columns={name: np.array(column, dtype=np.str_)[keep] for name, column in cells.columns.items()},
        # objects: one long cell would widen every cell of an array of fixed-width strings
        traits={name: np.array(column, dtype=np.object_)[keep] for name, column in cells.traits.items()},
        reader=_reader(cells, keep, index, found.roles) if require_label else None,
    )
    if require_label and found.roles.image:
        dataset.traits.update(image_traits(dataset.inputs))
    issues = [left_out(example_id[i], i, found.roles, cells.unusable[i]) for i in sorted(set(range(n)) - set(keep))]
    issues += [Issue("role_guessed", 1.0, "none", notice, is_issue=False) for notice in notices]
    issues += not_examined(sorted(cells.unread))
    return LoadedData(dataset, IssueTable.from_issues(issues), found.roles, n, tuple(notices))


def sorted_label_names(labels: object) -> tuple[str, ...]:
    """The distinct non-empty labels, sorted; numerically if all are integers."""
    names = sorted({str(label) for label in labels if label})  # type: ignore[attr-defined]
    if names and all(re.fullmatch(r"[+-]?\d{1,18}", name, re.ASCII) for name in names):
        names.sort(key=lambda name: (int(name), name))
    return tuple(names)


def read_cells(table: pa.Table, found: ResolvedRoles, *, with_traits: bool = False) -> Cells:
    """The cells of every part; image files are looked at."""
    roles, n = found.roles, table.num_rows
    columns: dict[str, list[str]] = {}
    inputs: list[Any]
    if roles.image is not None:
        names = [cell or "" for cell in column_text(table, roles.image, "--image")]
        inputs = list(examine_all(names, folder_of(table)))
        unusable = [
            f"{name!r}: {image.problem}" if isinstance(image, UnreadableImage) else ""
            for name, image in zip(names, inputs, strict=True)
        ]
    elif found.template is not None:
        cells = [column_text(table, name, "--template") for name in found.template.columns]
        columns = {name: [cell or "" for cell in own] for name, own in zip(found.template.columns, cells, strict=True)}
        inputs = found.template.fill(cells)
    else:
        inputs = [cell or "" for cell in column_text(table, roles.text or "", "--text")]
    if roles.image is None:
        unusable = ["" if text.strip() else no_text(roles) for text in inputs]

    def stripped(name: str | None, flag: str) -> list[str]:
        return [(cell or "").strip() for cell in column_text(table, name, flag)] if name else [""] * n

    traits: dict[str, list[str]] = {}
    unread = []
    for name in table.column_names if with_traits else ():
        if name in (roles.text, roles.label, roles.reader) or name in columns:
            continue
        try:
            traits[name] = [cell or "" for cell in column_text(table, name, "--text")]
        except DataError:
            unread.append(name)
    return Cells(
        inputs=inputs,
        unusable=unusable,
        label=stripped(roles.label, "--label"),
        group=stripped(roles.group, "--group"),
        id=stripped(roles.id, "--id") if roles.id else None,
        columns=columns,
        traits=traits,
        unread=tuple(unread),
        reader=stripped(roles.reader, "--reader"),
    )


def _reader(cells: Cells, keep: Sequence[int], index: Mapping[str, int], roles: Roles) -> npt.NDArray[np.int64] | None:
    """The second reader's classes, each named whole or by its first word, as `--positive` names them.

    Raises DataError for one that the label column does not have.
    """
    if roles.reader is None:
        return None
    names = tuple(index)
    meant = {word: class_named(word, names) or word for word in {cells.reader[i] for i in keep}}
    said = [meant[cells.reader[i]] for i in keep]
    unknown = Counter(name for name in said if name and name not in index)
    if unknown:
        name, n_rows = unknown.most_common(1)[0]
        near = difflib.get_close_matches(name, index, n=1, cutoff=0.5)
        row = next(i for i in keep if cells.reader[i] == name)
        raise DataError(
            f"Column {roles.reader!r} of the second reader holds {len(unknown)} labels that {roles.label!r} does not"
            f" have: {', '.join(map(repr, sorted(unknown)[:5]))} ({name!r} in {n_rows} rows, first in row {row + 1}).",
            cause=f"The classes are {', '.join(list(index)[:10])}; a cell may be empty where nobody read.",
            remedy=(f"Did you mean {near[0]!r}? " if near else "")
            + "Write both columns in the same words, or the reader's as the first word of a class where that is plain.",
        )
    return np.array([index.get(name, UNLABELLED) for name in said], dtype=np.int64)


def _example_ids(cells: Cells, roles: Roles) -> list[str]:
    if cells.id is None:
        # Rows without a label come last among equal inputs: leaving them out must not rename the others.
        ties = [f"{label or LAST_CHARACTER}\x1f{group}" for label, group in zip(cells.label, cells.group, strict=True)]
        contents = [
            why if isinstance(value, UnreadableImage) else content_of(value)
            for value, why in zip(cells.inputs, cells.unusable, strict=True)
        ]
        return content_ids(contents, ties)
    return unique_ids(cells.id, roles)


def unique_ids(ids: list[str], roles: Roles) -> list[str]:
    """The ids of the user's column as they are.

    Raises DataError if one is missing or stands twice.
    """
    missing = [i for i, value in enumerate(ids) if not value]
    if missing:
        raise missing_ids(roles, missing)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for i, value in enumerate(ids):
        rows[value].append(i)
    twice = {value: own for value, own in rows.items() if len(own) > 1}
    if twice:
        raise repeated_ids(roles, len(twice), dict(islice(twice.items(), 3)))
    return ids


def missing_ids(roles: Roles, rows: Sequence[int]) -> DataError:
    """The error for rows without an id."""
    return DataError(
        f"Column {roles.id!r} is empty in {len(rows)} rows (row {', '.join(str(i + 1) for i in rows[:5])}).",
        cause="Every row needs an id of its own, so that its prediction can be found again.",
        remedy=_unique_ids(roles),
    )


def repeated_ids(roles: Roles, n_repeated: int, some: Mapping[str, Sequence[int]]) -> DataError:
    """The error for ids that several rows have, with the rows of some of them."""
    listed = ", ".join(f"{value!r} (rows {', '.join(str(i + 1) for i in rows)[:60]})" for value, rows in some.items())
    return DataError(
        f"Column {roles.id!r} holds {n_repeated} ids more than once: {listed}.",
        cause="Two rows with one id could not be told apart in the folds and in the predictions.",
        remedy=_unique_ids(roles),
    )


def _unique_ids(roles: Roles) -> str:
    return (
        f"Make the values of {roles.id!r} unique, name another column with --id, take ids made of the content with"
        f" --id '', or, if {roles.id!r} says which rows belong together, use --group {roles.id} --id ''."
    )


def check_labels(counts: Counter[str], roles: Roles, label_names: tuple[str, ...] | None) -> None:
    """Raise DataError if the classes, each with its number of rows, cannot be learned or are not those of the model."""
    column = roles.label
    if label_names is not None:
        unknown = sorted(set(counts) - set(label_names))
        if unknown:
            similar = difflib.get_close_matches(unknown[0], label_names, n=1)
            raise DataError(
                f"Column {column!r} holds {len(unknown)} classes that the model does not know:"
                f" {', '.join(map(repr, unknown[:5]))} (first in {counts[unknown[0]]} rows).",
                cause=f"The model's classes are {', '.join(label_names[:10])}.",
                remedy=(f"Did you mean {similar[0]!r}? " if similar else "")
                + "Mend the labels, or train on data that hold these classes.",
            )
        return
    n_rows, n_classes = counts.total(), len(counts)
    if n_rows < MIN_ROWS:
        raise DataError(
            f"Only {n_rows} row{'s have' if n_rows > 1 else ' has'} both a {_kind(roles)} and a label.",
            cause=f"At least {MIN_ROWS} are needed to hold anything out, and some dozens per class to learn from.",
            remedy="Add labelled rows; 50 or more a class is a good start.",
        )
    if n_classes == 1:
        raise DataError(
            f"Column {column!r} holds one class only: {next(iter(counts))!r} in all {n_rows} rows.",
            cause="A classifier needs at least two classes to tell apart.",
            remedy="Add rows of another class, or name another column with --label.",
        )
    mean_rows = n_rows / n_classes
    if n_classes > MAX_CLASSES or mean_rows < MIN_MEAN_ROWS_PER_CLASS:
        kind = "a number" if all(re.fullmatch(r"[+-]?\d*[.]\d+(e[+-]?\d+)?", label) for label in counts) else "an id"
        raise DataError(
            f"Column {column!r} holds {n_classes} different values in {n_rows} rows ({mean_rows:.1f} rows a class).",
            cause=f"It looks like {kind} rather than a class (at most {MAX_CLASSES} classes, on average at least"
            f" {MIN_MEAN_ROWS_PER_CLASS} rows each).",
            remedy="Name the column of classes with --label, or merge classes.",
        )


def _kind(roles: Roles) -> str:
    return "readable image" if roles.image else "text"


def no_text(roles: Roles) -> str:
    """Why a row without a text cannot be used."""
    source = f"column {roles.text!r}" if roles.text else f"the template {roles.template!r}"
    return f"{source} gives no text"


def left_out(example_id: str, i: int, roles: Roles, unusable: str) -> Issue:
    """The finding for row i. unusable : why its input cannot be used; "" if it has no label."""
    check = ("unreadable_image" if roles.image else "empty_text") if unusable else "missing_label"
    reason = unusable or f"column {roles.label!r} is empty"
    return Issue(check, 0.0, "drop", f"Row {i + 1}: {reason}; the row was left out.", example_id, i)


def not_examined(columns: Sequence[str]) -> list[Issue]:
    """A finding for each column that no check reads."""
    return [
        Issue("column_not_examined", 1.0, "none", f"Column {name!r} holds lists, objects or bytes.", is_issue=False)
        for name in columns
    ]


def nothing_left(roles: Roles, n: int, n_unusable: int, n_unlabelled: int, first: str = "") -> DataError:
    """The error for data without a usable row. first : why the first input cannot be used."""
    example = f" Row 1: {first}." if roles.image and first else ""
    return DataError(
        f"None of the {n} rows can be used: {n_unusable} have no {_kind(roles)} in"
        f" {roles.text or roles.template or roles.image!r}, {n_unlabelled} no label in {roles.label!r}.{example}",
        cause="Perhaps other columns were meant.",
        remedy="Name them with --image and --label; file names are sought beside the table."
        if roles.image
        else "Name them with --text and --label.",
    )
