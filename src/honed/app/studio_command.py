"""`honed studio`: runs, their reports and their labels, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from honed.app.console import out, write_json
from honed.app.typer_app import Json, app
from honed.errors import OutputError, UsageError


@app.command("studio")
def studio(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    runs: Annotated[Path, typer.Argument(metavar="[RUNS_DIR]", help="folder of runs")] = Path("runs"),
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="folder of tables that a fit may be started with; uploads go there (default: RUNS_DIR/data)",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one")] = 8765,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="a further name by which the studio is called; repeat"),
    ] = None,
    max_upload_mb: Annotated[int, typer.Option("--max-upload-mb", min=1, help="largest upload")] = 200,
    device: Annotated[
        str, typer.Option("--device", help="of the playground: cpu, cuda, cuda:1, mps, or auto")
    ] = "auto",
    json: Json = False,
) -> int:
    """One web app over a folder of runs: start fits, compare, review labels, ask base and specialist.

    It listens on this machine alone, and the address that it prints holds a secret: whoever has it may do all of that.
    Fits that are going on outlive it. With --json it prints its address as JSON, and then serves.
    """
    try:
        from honed.app.studio.guard import LOOPBACK
        from honed.app.studio.listening import Limits, listen, make_server
    except ModuleNotFoundError as error:
        raise UsageError(
            f"`honed studio` needs {error.name}, which is not installed.", remedy="pip install 'honed[studio]'"
        ) from error
    if host not in LOOPBACK and not allow_host:
        raise UsageError(
            f"--host {host} can be reached from other machines, but no name of this machine was allowed.",
            cause="Requests for names that are not known are refused, lest a foreign site speaks to the studio.",
            remedy="Name each as it stands in the address bar: --allow-host NAME. There is no encryption: put a proxy "
            "with TLS in front.",
        )
    if runs.exists() and not runs.is_dir():
        raise UsageError(f"{runs} is a file, not a folder of runs.", remedy="Name a folder.")
    try:
        runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {runs} cannot be made: {error.strerror}.", remedy="Name another.") from error
    root = runs.resolve()
    listening = listen(host, port)
    limits = Limits(LOOPBACK | set(allow_host or ()), max_upload_mb * 1_000_000)
    server = make_server(listening, root, (data or root / "data").resolve(), limits, device)
    if json:
        write_json({"url": listening.url})
    else:
        out().print(f"Studio  {listening.url}\nCtrl-C ends it.", markup=False, soft_wrap=True)
    server.run(sockets=[listening.socket])
    return 0
