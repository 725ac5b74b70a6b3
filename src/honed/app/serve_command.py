"""Commands that put specialists to work: serve, and the store and the keys that a server reads."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated

import typer

from honed.app.console import out, write_json
from honed.app.typer_app import Json, RunArgument, app
from honed.errors import UsageError

_MIB = 1 << 20
StoreOption = Annotated[Path, typer.Option("--store", metavar="DIR", help="the store's folder", show_default=False)]
KeysOption = Annotated[Path, typer.Option("--keys", metavar="FILE", help="the file of hashes")]

store_app = typer.Typer(no_args_is_help=True, help="Specialists that wait in a folder; a running server sees changes.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys of a server; the file holds their hashes alone.")
app.add_typer(store_app, name="store")
app.add_typer(keys_app, name="keys")


@app.command("serve")
def serve(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]RUN...", help="runs to serve, each under its folder's name or NAME"),
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="serve all specialists of a store", show_default=False)
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="address to listen at; others than loopback need --keys")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one")] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="ask for API keys: see `honed keys`", show_default=False),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", min=0.1, help="inputs a second that one caller may ask", show_default=False),
    ] = None,
    abstain_below: Annotated[
        float, typer.Option("--abstain-below", min=0, max=1, help="give no label at a lower probability")
    ] = 0.0,
    memory: Annotated[int, typer.Option("--memory", metavar="MIB", min=1, help="for specialists in memory")] = 2048,
    queue: Annotated[
        int,
        typer.Option("--queue", min=1, help="inputs that may wait, and an eighth as many replies; then 429"),
    ] = 2048,
    latency: Annotated[
        float, typer.Option("--latency", metavar="MS", min=0, help="wait so long for others to share a batch")
    ] = 2.0,
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=1, help="tokens of one forward pass")] = 2048,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", min=0.1, help="give up a request after")] = 30.0,
    body: Annotated[int, typer.Option("--body", metavar="MIB", min=1, help="largest request")] = 10,
    pixels: Annotated[int, typer.Option("--pixels", min=1, help="largest image, unpacked")] = 25_000_000,
    characters: Annotated[int, typer.Option("--characters", min=1, help="longest text")] = 20_000,
    prompt_tokens: Annotated[int, typer.Option("--prompt-tokens", min=1, help="longest prompt to reply to")] = 4096,
    new_tokens: Annotated[int, typer.Option("--new-tokens", min=1, help="longest reply")] = 1024,
    replies: Annotated[int, typer.Option("--replies", min=1, help="written at a time, in one batch")] = 16,
    reply_timeout: Annotated[
        float, typer.Option("--reply-timeout", metavar="S", min=0.1, help="give up a reply after")
    ] = 300.0,
    base: Annotated[
        str | None, typer.Option("--base", help="where the base is, if not where training found it", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda")] = "auto",
    int8: Annotated[
        bool, typer.Option("--int8", help="compute the base in 8 bits on a CPU: see docs/serving.md for what it costs")
    ] = False,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="of torch (default: one a core)")] = None,
) -> int:
    """Answer over HTTP with many specialists on one base: POST /v1/predict, for those that write OpenAI's
    /v1/chat/completions and /v1/completions, and /docs says the rest.

    A batch mixes specialists in one forward pass. It listens to this machine alone unless --host says otherwise; then
    --keys is needed. Put a proxy with TLS in front of it where the network is not yours.
    """
    from honed.app.progress import watching

    need_extra()
    with watching(quiet=False, command="serve") as watcher:
        from honed.events import Emitter
        from honed.pipeline.serve import ServeOptions
        from honed.pipeline.serve import serve as run
        from honed.serving.batcher import BatchLimits
        from honed.serving.guard import HttpLimits
        from honed.serving.server import Listening
        from honed.serving.writer import WriteLimits

        limits = BatchLimits(
            batch_tokens=batch_tokens, queue_rows=queue, wait_s=latency / 1000, max_pixels=pixels,
            memory_bytes=memory * _MIB,
        )  # fmt: skip
        writing = WriteLimits(
            prompt_tokens=prompt_tokens, new_tokens=new_tokens, batch_rows=replies,
            queue_rows=max(1, queue // 8), reply_s=reply_timeout, memory_bytes=memory * _MIB,
        )  # fmt: skip
        http = HttpLimits(body_bytes=body * _MIB, n_chars=characters, answer_s=timeout)
        run(
            ServeOptions(
                tuple(runs or ()), store, base, device, threads, int8, keys, rate, abstain_below, limits, writing, http,
                Listening(host, port), Emitter((watcher,)),
            )
        )  # fmt: skip
    return 0


@store_app.command("add")
def store_add(
    run: RunArgument,
    store: StoreOption,
    name: Annotated[
        str | None, typer.Option("--name", help="default: the run folder's name", show_default=False)
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="if the name is taken, let it stand for this one")] = False,
    json: Json = False,
) -> int:
    """Copy a specialist into a store; a running server offers it at once."""
    from honed.pipeline.serve import named_runs
    from honed.serving.store import Store

    (own, folder), *_ = named_runs([str(run)]).items()
    entry = Store(store).add(name or own, folder, replace=replace)
    if json:
        write_json({"name": entry.name, "content": entry.content})
    else:
        out().print(f"{entry.name}  {entry.content[:12]}", markup=False, soft_wrap=True)
    return 0


@store_app.command("remove")
def store_remove(
    name: Annotated[str, typer.Argument(help="of the specialist")], store: StoreOption, json: Json = False
) -> int:
    """Take a specialist out of a store; a running server answers 404 from then on."""
    from honed.serving.store import Store

    Store.open(store).remove(name)
    if json:
        write_json({"removed": name})
    return 0


@store_app.command("list")
def store_list(store: StoreOption, json: Json = False) -> int:
    """All specialists of a store. Exit code 3 if one is damaged."""
    from honed.serving.store import Store

    opened = Store.open(store)
    entries, damaged = sorted(opened.entries().values(), key=lambda entry: entry.name), opened.damaged()
    if json:
        rows = [{"name": entry.name, "content": entry.content, "added": entry.added} for entry in entries]
        write_json({"base": opened.base(), "specialists": rows, "damaged": damaged})
    else:
        for entry in entries:
            out().print(f"{entry.content[:12]}  {entry.name}", markup=False, soft_wrap=True)
        for own in damaged:
            out().print(f"damaged       {own}", markup=False, soft_wrap=True)
    return 3 if damaged else 0


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="whose key it is")],
    keys: KeysOption = Path("keys.json"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="NAME", help="a specialist that it opens, * for any characters; repeat for more"
        ),
    ] = None,
) -> int:
    """Make an API key. It is shown once, on stdout, and kept nowhere; a running server knows it at once."""
    from honed.serving.keys import add_key

    if not model:
        raise UsageError(
            "No specialist was named that the key opens.", remedy="--model NAME, or --model '*' for all of them."
        )
    sys.stdout.write(add_key(keys, name, model) + "\n")
    return 0


@keys_app.command("remove")
def keys_remove(name: Annotated[str, typer.Argument(help="whose key")], keys: KeysOption = Path("keys.json")) -> int:
    """Take a key back; a running server refuses it from its next request on."""
    from honed.serving.keys import remove_key

    remove_key(keys, name)
    return 0


@keys_app.command("list")
def keys_list(keys: KeysOption = Path("keys.json"), json: Json = False) -> int:
    """Whose keys there are, and what they open."""
    from honed.serving.keys import read_keys

    found = read_keys(keys)
    if json:
        write_json({"keys": [{"name": key.id, "models": list(key.models), "made": key.made} for key in found]})
    else:
        for key in found:
            out().print(f"{key.id}  {' '.join(key.models)}", markup=False, soft_wrap=True)
    return 0


def need_extra() -> None:
    """Raises UsageError if what a server is made of is not installed."""
    missing = [
        name
        for name in ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
        if not importlib.util.find_spec(name)
    ]
    if missing:
        raise UsageError(f"Serving needs {', '.join(missing)}.", remedy="pip install -c constraints.txt 'honed[serve]'")
