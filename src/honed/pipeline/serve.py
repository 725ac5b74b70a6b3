"""From runs, or a store, to a server that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from honed.bases import resolve
from honed.errors import BaseModelError, UsageError
from honed.events import Emitter
from honed.pipeline.predict import adapter_folder
from honed.serving.store import Runs, Store, base_of, load_checked, load_entry

if TYPE_CHECKING:
    from honed.serving.batcher import BatchLimits
    from honed.serving.guard import HttpLimits
    from honed.serving.server import Listening
    from honed.serving.writer import WriteLimits


@dataclass(frozen=True)
class ServeOptions:
    """runs : `RUN` or `NAME=RUN`; or else a store.    base : where to find it, if not where training found it.

    rate_per_s : inputs a second and caller; None: no limit.    abstain_below : where a request does not say it.
    """

    runs: tuple[str, ...] = ()
    store: Path | None = None
    base: str | None = None
    device: str = "auto"
    threads: int | None = None
    is_int8: bool = False
    keys: Path | None = None
    rate_per_s: float | None = None
    abstain_below: float = 0.0
    limits: BatchLimits | None = None
    writing: WriteLimits | None = None
    http: HttpLimits | None = None
    listening: Listening | None = None
    emitter: Emitter = field(default_factory=Emitter)


def named_runs(runs: Sequence[str]) -> dict[str, Path]:
    """The adapter folder of each run by the name under which it is served: the folder's, unless NAME=RUN gives one.

    Raises UsageError for a name that occurs twice, RunFolderError for a folder that holds no specialist.
    """
    found: dict[str, Path] = {}
    for given in runs:
        name, sign, rest = given.partition("=")
        path = Path(rest if sign and not Path(given).exists() else given)
        folder = adapter_folder(path)
        own = folder.resolve()
        name = name if path != Path(given) else (own.parent.name if own.name == "adapter" else own.name)
        if name in found:
            raise UsageError(
                f"Two runs would be served as {name!r}: {found[name]} and {folder}.",
                remedy=f"Name one of them: `honed serve other={given} ...`.",
            )
        found[name] = folder
    return found


def serve(options: ServeOptions) -> None:
    """Serve until the process is told to stop.

    Raises UsageError, BaseModelError or RunFolderError if it cannot begin.
    """
    from honed.serving.batcher import Batcher, BatchLimits
    from honed.serving.family import FrozenBase
    from honed.serving.guard import HttpLimits
    from honed.serving.keys import KeyFile
    from honed.serving.rate import RateLimit
    from honed.serving.server import Listening, choose_threads
    from honed.serving.server import serve as listen
    from honed.serving.service import Service
    from honed.serving.writer import WriteLimits, Writer

    emitter = options.emitter
    if bool(options.runs) == (options.store is not None):
        raise UsageError(
            "`honed serve` needs runs or a store, and not both.",
            remedy="`honed serve RUN`, or `honed serve --store DIR`.",
        )
    keys = KeyFile(options.keys) if options.keys else None
    registry = Store.open(options.store) if options.store else Runs(named_runs(options.runs))
    entries = registry.entries()
    if isinstance(registry, Store):
        trained = registry.base()
        for name in registry.damaged():
            emitter.emit("warning", f"Specialist {name!r} of the store is damaged and not served; add it again.")
    else:
        trained = base_of(next(iter(entries.values())).folder)
        for entry in entries.values():
            load_checked(entry.folder)
    n_threads = choose_threads(options.threads)
    with emitter.stage("load", f"Loading base {trained['base']} for {len(entries)} specialists, {n_threads} threads"):
        base = resolve(options.base or trained["base"], revision=None if options.base else trained["base_revision"])
        if base.sha256 != trained["base_sha256"]:
            raise BaseModelError(
                f"The specialists were trained on base {trained['base']!r} (sha256 {trained['base_sha256'][:12]}...), "
                f"not on {base.name!r} at {base.path} (sha256 {base.sha256[:12]}...).",
                cause="An adapter on another base gives confident nonsense.",
                remedy="Use the base they were trained on.",
            )
        frozen = FrozenBase(base, options.device, is_int8=options.is_int8)
        for entry in list(entries.values())[:1]:
            frozen.model(load_entry(entry).info)
    limits, http = options.limits or BatchLimits(), options.http or HttpLimits()
    service = Service(
        Batcher(registry, frozen, limits),
        Writer(registry, frozen, options.writing or WriteLimits()),
        keys=keys,
        # what could never find room in the queue is told so at once
        limits=replace(http, n_inputs=min(http.n_inputs, limits.queue_rows)),
        rate=RateLimit(options.rate_per_s),
        abstain_below=options.abstain_below,
    )
    listen(service, options.listening or Listening())
