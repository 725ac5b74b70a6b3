"""`python -m honed.pipeline.worker`: one `fit` in a process of its own, told what to do on stdin, telling on stdout.

A process of its own, because only so a method's peak memory is its own, and a method that is killed for want of memory
takes nothing else with it. stdin: one JSON object, `{"config": {...}}` or `{"resume": folder}`. stdout: one JSON object
an event; at last `{"done": folder}` or `{"error": {...}}`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from honed.errors import HonedError
from honed.events import Emitter, Event


class WorkerError(HonedError):
    """The worker's own error, told here; `exit_code` is the worker's."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error["problem"]), cause=str(error["cause"]), remedy=str(error["remedy"]))
        self.exit_code = int(error["exit_code"])


def fit_elsewhere(order: Mapping[str, Any], emitter: Emitter, name: str) -> None:
    """Run one fit in a new process; its stages and progress reach the emitter with `name` in front.

    Raises WorkerError for the worker's own error, or if it died.
    """
    command = [sys.executable, "-m", "honed.pipeline.worker"]
    last: dict[str, Any] = {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):  # a child that is dead already is told of below
            child.stdin.write(json.dumps(order))
            child.stdin.close()
        for line in child.stdout:
            last = json.loads(line)
            if "kind" in last and last["kind"] not in {"run.start", "run.end"}:
                message = last["message"] if last["kind"] == "progress" else f"{name}: {last['message']}"
                emitter.emit(last["kind"], message, **last["fields"])
    if "error" in last:
        raise WorkerError(last["error"])
    if "done" not in last:
        raise WorkerError({
            "problem": f"The process that trained {name} died (exit status {child.returncode}).",
            "cause": "It was killed, most often because the memory was used up." if child.returncode < 0 else "",
            "remedy": "See what `honed plan` says of its memory; a smaller --depth or --batch-size needs less.",
            "exit_code": 1,
        })  # fmt: skip


def main() -> None:
    """The worker's side."""
    from honed.config import make_config
    from honed.pipeline import fit as fitting

    def tell(value: Mapping[str, Any]) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def listener(event: Event) -> None:
        tell({"kind": event.kind, "message": event.message, "fields": event.fields})

    order = json.load(sys.stdin)
    try:
        if "resume" in order:
            run = fitting.resume(order["resume"], [listener])
        else:
            run = fitting.fit(make_config(order["config"]), [listener])
        tell({"done": str(run.path)})
    except HonedError as error:
        fields = {"problem": error.problem, "cause": error.cause, "remedy": error.remedy, "exit_code": error.exit_code}
        tell({"error": fields})
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
