"""One cell of a table as text: the same string whatever the file format, so that labels do not flip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from honed.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

NESTED_ROW_KEY = b"honed.first_nested_row"
_EXACT_FLOAT_LIMIT = 1e15


def cell_text(value: object) -> str | None:
    """The text of a scalar; None where it is missing (null or NaN).

    Integers are written as they are, whole floats as integers (a Parquet column of integers with one gap is stored
    as floats: 1.0 must stay class "1"), other floats by `repr`, strings unchanged.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT_FLOAT_LIMIT else repr(value)
    return str(value)


def column_text(table: pa.Table, name: str, flag: str) -> list[str | None]:
    """The n cells of a column as text; `flag` is the option that would name another column.

    Raises DataError if the column holds lists, objects or bytes.
    """
    import pyarrow as pa

    field = table.schema.field(name)
    nested_row = (field.metadata or {}).get(NESTED_ROW_KEY)
    if nested_row is not None or pa.types.is_nested(field.type):
        where = f" (first in row {int(nested_row)})" if nested_row is not None else f" (its type is {field.type})"
        raise DataError(
            f"Column {name!r} holds lists or objects{where}, where one text per row is needed.",
            remedy=f"Write the value that matters into a column of its own, or name another column with {flag}.",
        )
    if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
        raise DataError(
            f"Column {name!r} holds bytes ({field.type}), where text is needed.",
            remedy=f"Decode it to strings before saving, or name another column with {flag}.",
        )
    return [cell_text(value) for value in table.column(name).to_pylist()]
