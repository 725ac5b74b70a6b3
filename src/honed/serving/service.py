"""What every route needs: who asks, what may be asked, and the answers of the batcher."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from honed.errors import DataError, HonedError, RunFolderError
from honed.serving.batcher import Answer, Batcher
from honed.serving.guard import HttpLimits, Refused
from honed.serving.keys import ANYBODY, Key, KeyFile
from honed.serving.lookup import Busy, NoAnswer, NoSuchSpecialist
from honed.serving.metrics import Metrics
from honed.serving.rate import RateLimit
from honed.serving.store import Entry
from honed.serving.writer import Writer

_LOG = logging.getLogger("honed.serving")
_LOOK_S = 0.2
"""How long a look at the registry holds, so that many requests do not each look."""


@dataclass
class Service:
    """One server.

    batcher, writer : for specialists that classify, and for those that write (None: no routes for them).
    keys : None where no key is wanted.    abstain_below : where a request does not say it.
    is_ready : whether the base is in memory, and nobody asked the server to stop.
    """

    batcher: Batcher
    writer: Writer | None = None
    keys: KeyFile | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)
    rate: RateLimit = field(default_factory=lambda: RateLimit(None))
    abstain_below: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    is_ready: bool = False
    _entries: Mapping[str, Entry] = field(default_factory=dict)
    _looked: float = -math.inf

    def __post_init__(self) -> None:
        self.metrics.observe(self.batcher)
        if self.writer is not None:
            self.metrics.observe_writer(self.writer)

    def close(self) -> None:
        """Answer what is open, then stop."""
        self.batcher.close()
        if self.writer is not None:
            self.writer.close()

    def entries(self) -> Mapping[str, Entry]:
        """All specialists by name, at most a moment old."""
        now = time.monotonic()
        if now - self._looked > _LOOK_S:
            self._entries, self._looked = self.batcher.registry.entries(), now
        return self._entries

    def caller(self, request: Request) -> Key:
        """Who asks.

        Raises Refused (401) without a valid key where one is wanted.
        """
        if self.keys is None:
            return ANYBODY
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = self.keys.find(token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            raise Refused(401, "A valid API key is needed.", remedy="Send `Authorization: Bearer KEY`.")
        return key

    def specialist(self, caller: Key, name: str) -> Entry:
        """The specialist of that name.

        Raises Refused: 403 if the caller may not use it, be there one or not; 404 if there is none.
        """
        if not caller.opens(name):
            raise Refused(403, f"This key does not open specialist {name[:100]!r}.")
        entry = self.entries().get(name)
        if entry is None:
            raise Refused(404, f"There is no specialist {name[:100]!r}.", remedy="GET /v1/models lists all.")
        return entry

    def check_rate(self, request: Request, caller: Key, n_rows: int) -> None:
        """Raises Refused (429) if the caller asks too often."""
        who = caller.id if caller is not ANYBODY else f"at {request.client.host if request.client else ''}"
        wait = self.rate.wait_s(who, n_rows)
        if wait:
            raise Refused(
                429, f"More than {self.rate.per_s:g} inputs a second.", remedy="Ask less often.",
                retry_after_s=math.ceil(wait),
            )  # fmt: skip

    async def answers(self, asked: Sequence[tuple[Entry, Any]]) -> list[Answer]:
        """The answer of each entry's specialist to the value beside it.

        Raises Refused: 429 if the queue is full, 504 if it takes too long, 422 for an input that cannot be read, 500
        and 503 if a specialist fails.
        """
        try:
            futures = [asyncio.wrap_future(future) for future in self.batcher.submit(asked)]
        except Busy as busy:
            raise refusal_of(busy) from None
        try:
            return list(await asyncio.wait_for(asyncio.gather(*futures), self.limits.answer_s))
        except TimeoutError:
            raise Refused(504, f"No answer within {self.limits.answer_s:g} s.", retry_after_s=1) from None
        except HonedError as error:
            raise refusal_of(error) from None
        finally:
            for future in futures:
                future.cancel()  # those that nobody waits for any more are not computed


def refusal_of(error: HonedError) -> Refused:
    """What a client is told of an error."""
    if isinstance(error, Busy):
        return Refused(429, error.problem, remedy=error.remedy, retry_after_s=error.retry_after_s)
    if isinstance(error, NoSuchSpecialist):
        return Refused(404, error.problem)
    if isinstance(error, NoAnswer):
        return Refused(500, error.problem)
    if isinstance(error, DataError) and not isinstance(error, RunFolderError):
        return Refused(422, error.problem, remedy=error.remedy)
    # The message names files of this machine, which are no client's affair.
    _LOG.error("A specialist cannot be served: %s", error)
    return Refused(503, "This specialist cannot be served at present; the server's log says why.")
