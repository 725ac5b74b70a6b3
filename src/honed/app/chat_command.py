"""`honed chat`: talk to a specialist, and hear its base beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from honed.app.console import err, out, printable
from honed.app.typer_app import RunArgument, app
from honed.errors import UsageError

if TYPE_CHECKING:
    from honed.data.conversations import Message
    from honed.serving.engine import Specialist
    from honed.serving.generation import Writing

WHO = ("both", "specialist", "base")
HELP = "/reset forgets what was said, /quit ends."


@app.command("chat")
def chat(  # noqa: PLR0913, PLR0917 - each parameter is a flag
    run: RunArgument,
    who: Annotated[str, typer.Option("--who", metavar="both|specialist|base", help="who replies")] = "both",
    system: Annotated[
        str | None, typer.Option("--system", help="a system prompt before everything", show_default=False)
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, max=10.0, help="0 always takes the likeliest token")
    ] = 0.0,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="of a reply, at most")] = 256,
    seed: Annotated[int, typer.Option("--seed", min=0, help="of the draws, with a temperature")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps, or auto")] = "auto",
) -> int:
    """Talk to a language specialist; base and specialist reply side by side, each to its own conversation.

    Type a line and press Enter. /reset forgets what was said, /quit (or Ctrl-D) ends. Lines can be piped in, too:
    `echo "May I drink wine every day?" | honed chat RUN`.
    """
    from honed.app.progress import watching
    from honed.events import Emitter

    if who not in WHO:
        raise UsageError(f"--who {who!r} is none of {', '.join(WHO)}.")
    with watching(quiet=False) as watcher:
        from honed.pipeline.language_predict import load_writer
        from honed.serving.generation import Writing

        specialist = load_writer(run, device=device, emitter=Emitter((watcher,)))
    how = Writing(max_new_tokens, temperature, seed)
    speakers = {"specialist": 0, "base": None}
    chosen = {name: slot for name, slot in speakers.items() if who in ("both", name)}
    _converse(specialist, chosen, system, how)
    return 0


def _converse(specialist: Specialist, speakers: dict[str, int | None], system: str | None, how: Writing) -> None:
    from honed.data.conversations import Message

    start = (Message("system", system),) if system else ()
    said: dict[str, tuple[Message, ...]] = dict.fromkeys(speakers, start)
    is_person = sys.stdin.isatty()
    if is_person:
        err().print(HELP, style="dim")
    for line in _lines(is_person):
        if line == "/quit":
            return
        if line == "/reset":
            said = dict.fromkeys(speakers, start)
            continue
        for name, slot in speakers.items():
            out().print(f"{name}: ", end="", style="bold green" if slot == 0 else "bold")
            prompt = (*said[name], Message("user", line))
            said[name] = (*prompt, Message("assistant", _say(specialist, prompt, slot, how)))


def _lines(is_person: bool) -> Iterator[str]:
    """Non-empty lines, from a person one after another."""
    while True:
        try:
            line = input("you: " if is_person else "").strip()
        except EOFError:
            return
        if line:
            yield line


def _say(specialist: Specialist, prompt: tuple[Message, ...], slot: int | None, how: Writing) -> str:
    """Write a reply as it comes; gives it back whole."""
    from transformers import TextStreamer

    from honed.serving.generation import stream_reply

    parts: list[str] = []

    class Terminal(TextStreamer):  # type: ignore[misc]
        """Prints finished words, without characters that could steer a terminal."""

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            parts.append(text)
            sys.stdout.write(printable(text) + ("\n" if stream_end else ""))
            sys.stdout.flush()

    tokenizer = specialist.stack.task.tokenizer
    streamer = Terminal(tokenizer, skip_prompt=True, skip_special_tokens=True)
    stream_reply(specialist.stack, prompt, slot, how, streamer)
    return "".join(parts).strip()
