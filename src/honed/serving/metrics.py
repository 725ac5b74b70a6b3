"""Counters for Prometheus. No label holds a specialist's name: it may be confidential, and there are thousands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from honed.serving.batcher import Batcher
    from honed.serving.writer import Writer

_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """What `/metrics` says."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._responses = Counter(
            "honed_responses", "Responses by route and status.", ["route", "status"], registry=self._registry
        )
        self.answer_s = Histogram(
            "honed_answer_seconds", "From a whole request to its answer.", buckets=_BUCKETS_S, registry=self._registry
        )

    def observe(self, batcher: Batcher) -> None:
        """Say what a batcher does, whenever somebody asks."""
        self._registry.register(_BatcherState(batcher))

    def observe_writer(self, writer: Writer) -> None:
        """Say what a writer does, whenever somebody asks."""
        self._registry.register(_WriterState(writer))

    def count(self, route: str, status: int) -> None:
        """One more response."""
        self._responses.labels(route, str(status)).inc()

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _BatcherState:
    def __init__(self, batcher: Batcher) -> None:
        self._batcher, self._start = batcher, time.time()

    def collect(self) -> Iterator[Any]:
        batcher, counts, residents = self._batcher, self._batcher.counts, self._batcher.residents
        for name, text, value in (
            ("honed_start_time_seconds", "When the server started.", self._start),
            ("honed_queue_rows", "Inputs that wait or are computed.", batcher.n_open),
            ("honed_specialists_registered", "Specialists that can be asked for.", len(batcher.registry.entries())),
            ("honed_specialists_resident", "Specialists in memory.", len(residents)),
            ("honed_specialists_resident_bytes", "Memory of these.", residents.n_bytes),
            ("honed_remembered_bytes", "Memory of the frozen part of inputs seen before.", batcher.recent.n_bytes),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        for name, text, total in (
            ("honed_rows", "Inputs answered.", counts.n_rows),
            ("honed_rows_failed", "Inputs without an answer.", counts.n_failed),
            ("honed_batches", "Forward passes.", counts.n_batches),
            ("honed_batch_specialists", "Specialists in these, summed.", counts.n_specialists),
            ("honed_busy_seconds", "Spent in forward passes.", counts.busy_s),
            ("honed_loads", "Specialists brought into memory.", residents.n_loads),
            ("honed_evictions", "Specialists that left it for others.", residents.n_evictions),
            ("honed_remembered_hits", "Inputs whose frozen part was there.", batcher.recent.hits),
            ("honed_remembered_misses", "Inputs whose frozen part was not.", batcher.recent.misses),
        ):
            yield CounterMetricFamily(name, text, value=total)


class _WriterState:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def collect(self) -> Iterator[Any]:
        writer, counts = self._writer, self._writer.counts
        for name, text, value in (
            ("honed_writing_queue", "Replies that wait or are written.", writer.n_open),
            ("honed_writers_resident", "Specialists in memory that write.", len(writer.residents)),
            ("honed_writers_resident_bytes", "Memory of these.", writer.residents.n_bytes),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        for name, text, total in (
            ("honed_replies", "Replies written.", counts.n_replies),
            ("honed_replies_failed", "Requests without a reply.", counts.n_failed),
            ("honed_replies_left", "Replies whose client had gone.", counts.n_left),
            ("honed_reply_tokens", "Tokens of replies.", counts.n_tokens),
            ("honed_writing_batches", "Batches of replies.", counts.n_batches),
            ("honed_writing_batch_specialists", "Specialists in these, summed.", counts.n_specialists),
            ("honed_writing_seconds", "Spent in these.", counts.busy_s),
        ):
            yield CounterMetricFamily(name, text, value=total)
