"""What the service tells Prometheus of itself: counts, times and sizes; no name of a file or a patient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from tasks.serving.pool import Pool

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Measured:
    """Measurements of the service.

    Attributes:
        here: requests with a body that are here.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "scansuite_requests", "Requests that were answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "scansuite_request_seconds", "From a request's first byte to the end of its answer", ("route",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._bytes = Counter("scansuite_received_bytes", "Bytes of requests that were kept", registry=self._registry)
        self._cases = Counter("scansuite_requests_by_model", "Requests by model", ("model",), registry=self._registry)
        self.here = Gauge("scansuite_requests_here", "Requests with a body that are here", registry=self._registry)

    def of_pool(self, pool: Pool) -> None:
        """Measure the workers too."""
        self._registry.register(_OfPool(pool))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method if method in ("GET", "POST", "HEAD") else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def taken(self, model: str, size: int) -> None:
        """Count what a model was sent."""
        self._cases.labels(model).inc()
        self._bytes.inc(size)

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)


class _OfPool(Collector):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def _collect(self) -> Iterator[Metric]:
        pool = self._pool
        yield GaugeMetricFamily("scansuite_workers", "Workers that are ready", value=pool.count)
        yield GaugeMetricFamily("scansuite_requests_waiting", "Requests that no worker has taken", value=pool.waiting)
        yield GaugeMetricFamily("scansuite_requests_running", "Requests that workers have", value=pool.running)
        yield CounterMetricFamily("scansuite_workers_replaced", "Workers that were replaced", value=pool.replaced)
        runs = CounterMetricFamily(
            "scansuite_runs", "Runs of a model, by requests that they served", labels=["requests"]
        )
        for size, count in sorted(pool.batches.items()):
            runs.add_metric([str(size)], count)
        yield runs
