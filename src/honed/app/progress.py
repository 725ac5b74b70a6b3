"""Progress on stderr: bars with the time left on a terminal, a plain line per stage elsewhere, nothing for machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from honed.app.console import Interrupted, err, printable
from honed.events import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_TOLD = ("slot.diverged", "warning", "holdout.opened")


class Watcher:
    """A listener that shows stages and progress, and remembers where the run is written."""

    def __init__(self, console: Console | None, bars: Progress | None) -> None:
        self.console, self.bars = console, bars
        self.run_path: str | None = None
        self._task: TaskID | None = None
        self._unit = ""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "run.start" and self.run_path is None:
            self.run_path = event.fields.get("path")
        if self.console is None:
            return
        if event.kind == "stage.start":
            self._start(printable(event.message))
        elif event.kind == "stage.end":
            self._end(printable(event.message), float(event.fields.get("seconds", 0.0)))
        elif event.kind == "progress":
            self._advance(event)
        elif event.kind in _TOLD:
            self.console.print(printable(event.message), markup=False)

    def _start(self, message: str) -> None:
        assert self.console is not None
        if self.bars is None:
            self.console.print(f"{message} ...", markup=False, soft_wrap=True)
        else:
            from rich.markup import escape

            self._task = self.bars.add_task(escape(message), total=None, count="")

    def _end(self, message: str, seconds: float) -> None:
        assert self.console is not None
        if self.bars is None or self._task is None:
            return
        self.bars.remove_task(self._task)
        self._task = None
        self.console.print(f"  {message}: {seconds:.1f} s", style="dim", markup=False)

    def _advance(self, event: Event) -> None:
        if self.bars is None or self._task is None:
            return
        done, total, unit = event.fields["done"], event.fields["total"], event.fields["unit"]
        if event.message != self._unit:  # another count within the same stage: its time left starts afresh
            self._unit = event.message
            self.bars.reset(self._task)
        self.bars.update(self._task, completed=done, total=total, count=f"{done}/{total} {unit}s")


@contextmanager
def watching(*, quiet: bool, command: str = "fit") -> Iterator[Watcher]:
    """A watcher for the block; Ctrl-C inside it becomes a message that says how to go on.

    quiet : show nothing (`--json`).    command : whose `--resume` continues what was begun.
    """
    console = None if quiet else err()
    bars = _bars(console) if console is not None and console.is_terminal else None
    watcher = Watcher(console, bars)
    try:
        if bars is None:
            yield watcher
        else:
            with bars:
                yield watcher
    except KeyboardInterrupt:
        remedy = f"Continue with `honed {command} --resume {watcher.run_path}`." if watcher.run_path else ""
        kept = f" What was done is kept in {watcher.run_path}." if watcher.run_path else " Nothing was written."
        raise Interrupted(f"Interrupted.{kept}", remedy=remedy) from None


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        transient=True,
    )
