"""Which class a word means: the whole name, or its first word where no other class begins so."""

from __future__ import annotations

from collections.abc import Sequence


def class_named(word: str, label_names: Sequence[str]) -> str | None:
    """The class of that name, or the only one whose first word it is: 2 is the grade '2 moderate'; None for neither."""
    if word in label_names:
        return word
    begins = [label for label in label_names if label.split(maxsplit=1)[:1] == [word]]
    return begins[0] if len(begins) == 1 else None
