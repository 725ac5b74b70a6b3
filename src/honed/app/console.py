"""What is said on the terminal: results on stdout, everything else on stderr; JSON alone where machines read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from honed.errors import HonedError

if TYPE_CHECKING:
    from rich.console import Console


class Interrupted(HonedError):  # noqa: N818 - what the user did, not a fault
    """The user pressed Ctrl-C."""

    exit_code = 130


def out(*, has_colours: bool = True) -> Console:
    """The console of results. Made anew for each use, so that a redirected stdout is respected.

    has_colours : False for none; None of them are shown either where NO_COLOR is set or nobody reads.
    """
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False, no_color=None if has_colours else True)


def err() -> Console:
    """The console of progress and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def printable(text: object) -> str:
    """The text without characters that could steer a terminal: each of them as its escape."""
    plain = str(text).replace("\u202f", " ")  # the narrow space between thousands
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in plain)


def write_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def show_error(error: HonedError, *, as_json: bool) -> None:
    """Problem, cause and remedy, calmly; as JSON on stdout where a machine asked."""
    if as_json:
        fields = {"problem": error.problem, "cause": error.cause, "remedy": error.remedy, "exit_code": error.exit_code}
        write_json({"error": fields})
        return
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, style, text in (
        ("Problem", "bold red", error.problem),
        ("Cause", "bold", error.cause),
        ("Remedy", "bold green", error.remedy),
    ):
        if text.strip():
            grid.add_row(Text(name, style=style), Text(printable(text.strip())))
    err().print(grid)
