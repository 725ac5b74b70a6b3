"""The typer application that the command modules add their commands to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="honed",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn a general pretrained model into a specialist for one domain, with proof.",
    epilog="Exit codes: 0 done, 1 fault, 2 usage, 3 data, 4 gate or parity failed.",
)

Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout, for machines; no progress")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="folder that `honed fit` wrote", show_default=False)]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME",
        help="a domain's usual starting point: see `honed recipes`; or a YAML file of yours",
        show_default=False,
    ),
]
