"""Texts that a Python caller hands over, checked before a tokenizer sees them."""

from __future__ import annotations

from collections.abc import Sequence

from honed.errors import UsageError


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises UsageError for a single string, or an element that is no string (with its position).
    """
    if isinstance(texts, str | bytes):
        raise UsageError("One text was given where a list of texts is expected.", remedy="Write [text].")
    result = list(texts)
    for i, text in enumerate(result):
        if not isinstance(text, str):
            raise UsageError(
                f"Element {i} of the texts is {text!r}, a {type(text).__name__}, not a string.",
                remedy="Give a list of strings; replace missing values by ''.",
            )
    return result
