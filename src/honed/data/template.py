"""`--template "{title} {body}"`: several columns joined into one text."""

from __future__ import annotations

import difflib
import string
from collections.abc import Sequence
from dataclasses import dataclass

from honed.errors import UsageError

_EXAMPLE = "for example --template '{title}\\n{body}'"


@dataclass(frozen=True)
class Template:
    """A parsed template: literal, column, literal, column, ..., literal.

    literals : one more than `columns`.        columns : the column after each literal but the last.
    """

    literals: tuple[str, ...]
    columns: tuple[str, ...]

    def fill(self, cells: Sequence[Sequence[str | None]]) -> list[str]:
        """The n texts of len(columns) columns of n cells; a missing value becomes "".

        A row whose cells are all blank gives "" (and so counts as an empty text), whatever the literals are.
        """
        texts = []
        for row in zip(*cells, strict=True):
            filled = [cell or "" for cell in row]
            parts = [part for pair in zip(self.literals, [*filled, ""], strict=True) for part in pair]
            texts.append("".join(parts) if any(cell.strip() for cell in filled) else "")
        return texts


def parse_template(template: str, names: Sequence[str]) -> Template:
    r"""Parse a template over the columns `names`.

    Only plain `{column}` is accepted: no attribute, index, conversion or format, so that a template can never reach
    into objects. `{{` and `}}` stand for braces; a typed `\n` or `\t` is understood.

    Raises UsageError for anything else, an unknown column, or a template without columns.
    """
    literals: list[str] = []
    columns: list[str] = []
    pending = ""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(
            f"--template {template!r} cannot be read: {error}.",
            remedy=f"Write a column as {{name}} and a brace as {{{{ or }}}}, {_EXAMPLE}.",
        ) from None
    for literal, name, spec, conversion in parsed:
        pending += literal.replace("\\n", "\n").replace("\\t", "\t")
        if name is None:
            continue
        if name not in names:
            raise _bad_field(template, name, names)
        if spec or conversion:
            raise UsageError(
                f"--template {template!r}: {{{name}}} carries a conversion or format, which is not supported.",
                remedy=f"Write only the name of the column: {{{name}}}.",
            )
        literals.append(pending)
        columns.append(name)
        pending = ""
    if not columns:
        raise UsageError(
            f"--template {template!r} names no column, so every text would be the same.",
            remedy=f"Name columns in braces ({', '.join(names)}), {_EXAMPLE}.",
        )
    return Template((*literals, pending), tuple(columns))


def _bad_field(template: str, name: str, names: Sequence[str]) -> UsageError:
    columns = f"The columns are {', '.join(names)}."
    if any(mark in name for mark in ".[]()"):
        return UsageError(
            f"--template {template!r}: {{{name}}} is not the plain name of a column.",
            cause=f"Attributes and indices are refused: a template only joins cells. {columns}",
            remedy=f"Write {{name}}, {_EXAMPLE}.",
        )
    similar = difflib.get_close_matches(name, names, n=1)
    return UsageError(
        f"--template {template!r}: there is no column {name!r}.",
        cause=columns,
        remedy=f"Did you mean {{{similar[0]}}}?" if similar else "Name one of these in braces.",
    )
