"""The flags of `honed check` about personal data, and what is told of a redacted copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from honed.app.console import out, printable
from honed.errors import UsageError

if TYPE_CHECKING:
    from honed.data.personal.hit import Finder
    from honed.data.redaction import Redacted

_PANEL = "Personal data"
Redact = Annotated[
    Path | None,
    typer.Option(
        "--redact",
        metavar="FILE",
        help="write a copy with pseudonyms in place of personal data; DATA stays as it is",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
RedactColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--redact-columns",
        metavar="NAME",
        help="redact this column alone; repeat for more (default: every column of text)",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
Presidio = Annotated[
    str | None,
    typer.Option(
        "--presidio",
        metavar="MODEL",
        help="find names with Microsoft Presidio and this spaCy model too; needs honed\\[presidio]",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]


def choose_finder(presidio: str | None) -> Finder | None:
    """What finds personal data: Presidio with the model named, or None for the patterns alone."""
    if presidio is None:
        return None
    from honed.data.personal.presidio import PresidioFinder

    return PresidioFinder.load(presidio)


def redact_data(
    data: str, target: Path | None, columns: Sequence[str] | None, finder: Finder | None, *, quiet: bool
) -> dict[str, Any]:
    """Write the redacted copy if one is asked for, and tell so; returns what `--json` adds.

    Raises what `redact_file` does, and UsageError for columns without a copy.
    """
    if target is None:
        if columns:
            raise UsageError("--redact-columns was given without --redact.", remedy="Add --redact FILE.")
        return {}
    from honed.data.personal.find import find_personal_batch
    from honed.data.redaction import redact_file

    redacted = redact_file(data, target, finder or find_personal_batch, columns or None)
    if not quiet:
        _show(redacted)
    return {
        "redacted": {
            "file": str(redacted.path),
            "n_replaced": redacted.n_replaced,
            "n_distinct": redacted.n_distinct,
            "not_scanned": list(redacted.not_scanned),
        }
    }


def _show(redacted: Redacted) -> None:
    from honed.data.personal.hit import KINDS

    counts = [
        f"{redacted.n_replaced[kind]} {KINDS[kind].one if redacted.n_replaced[kind] == 1 else KINDS[kind].many}"
        f" ({redacted.n_distinct[kind]} different)"
        for kind in KINDS
        if kind in redacted.n_replaced
    ]
    console = out()
    console.print(
        f"Redacted {printable(redacted.path)}: {', '.join(counts) or 'nothing to replace'}",
        markup=False,
        soft_wrap=True,
    )
    if redacted.not_scanned:
        console.print(
            f"         not read: {printable(', '.join(redacted.not_scanned))} (no text)", markup=False, soft_wrap=True
        )
    console.print(
        "         It is no guarantee of anonymity: docs/personal-data.md says what is missed.\n", markup=False
    )
