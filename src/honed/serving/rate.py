"""How often somebody may ask: a bucket of tokens each, which fills at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict

_MOST_BUCKETS = 10_000


class RateLimit:
    """per_s : rows a second and caller; None: no limit. Who was quiet may ask `burst_s` seconds' worth at once.

    Whoever has not asked for longest is forgotten first, which gives him a full bucket: that is what he would have.
    """

    def __init__(self, per_s: float | None, burst_s: float = 2.0) -> None:
        self.per_s, self.burst_s = per_s, burst_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when they were counted

    def wait_s(self, who: str, n_rows: int, now: float | None = None) -> float:
        """Take `n_rows` and return 0; or take nothing and return how long to wait before asking again."""
        if self.per_s is None:
            return 0.0
        now = time.monotonic() if now is None else now
        full = max(self.per_s * self.burst_s, 1.0)
        tokens, counted = self._buckets.get(who, (full, now))
        tokens = min(full, tokens + (now - counted) * self.per_s)
        wait = max(0.0, (min(n_rows, full) - tokens) / self.per_s)
        self._buckets[who] = (tokens if wait else tokens - n_rows, now)  # below 0 after more than a bucketful
        self._buckets.move_to_end(who)
        while len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        return wait
