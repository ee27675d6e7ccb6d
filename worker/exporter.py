"""The worker's live view: ``/metrics`` with the whole curve on every scrape, and ``/healthz``.

A plain gauge that is scraped every 15 seconds keeps a handful of 111 points. Here every scrape carries every point so
far, under a ``step`` label that is bounded by ``MAX_CURVE_POINTS``.
"""

import json
import threading
from collections.abc import Callable, Iterable
from socket import socket
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from worker.contract import metric_names as names
from worker.contract.curve_grid import CurveGrid
from worker.contract.metric_spec import Samples, Source
from worker.contract.run_samples import ArmLabels, RunSnapshot, add_run
from worker.monitor import Monitor, peak_memory_bytes
from worker.scrape_text import ScrapeText

SOCKET_SECONDS = 10.0
"""A scraper that does not read its answer for this long is dropped."""

MAX_CONNECTIONS = 16
"""Scrapers at once. What comes on top is hung up on: no number of them may take memory or time from the training."""

METRICS = tuple(metric for metric in names.METRICS if Source.WORKER in metric.sources)
"""What a worker exposes."""


class MonitorCollector(Collector):
    """Turns a monitor into metric families at each scrape; nothing is kept between scrapes."""

    def __init__(self, monitor: Monitor) -> None:
        """Read from this monitor."""
        config = monitor.config
        self._monitor = monitor
        self._grid = CurveGrid.of(config.training)
        self._labels = ArmLabels(
            config.comparison, config.arm.slug, config.arm.backbone.source, config.arm.mode.value, Source.WORKER
        )

    def collect(self) -> Iterable[Metric]:
        """Yield every family of ``METRICS``."""
        for spec, samples in self._samples().families():
            family = Metric(spec.family, spec.help, spec.kind)
            family.samples = [Sample(*sample) for sample in samples]
            yield family

    def _samples(self) -> Samples:
        samples = Samples(METRICS)
        for seed, view in self._monitor.runs.items():
            add_run(samples, self._labels, self._snapshot(seed))
            samples.add(names.OPTIMIZER_STEPS, self._labels.of_run(seed), view.num_updates)
        of_arm = self._labels.of_arm
        for phase in names.PHASES:
            samples.add(names.PHASE, (*of_arm, phase), phase == self._monitor.phase)
        samples.add_histogram(names.STEP_DURATION, of_arm, self._monitor.step_durations.snapshot())
        samples.add(names.EXAMPLES_PER_SECOND, of_arm, self._monitor.examples_per_second)
        samples.add(names.PEAK_MEMORY, of_arm, peak_memory_bytes())
        return samples

    def _snapshot(self, seed: int) -> RunSnapshot:
        config, view = self._monitor.config, self._monitor.runs[seed]
        curve = self._grid.thin(view.points)
        return RunSnapshot(
            seed=seed,
            dataset=config.data.source,
            revision=config.backbone.revision,
            step=curve.last_step,
            accuracy=curve.latest,
            curve=curve,
            num_planned=self._grid.num_planned,
            is_complete=view.is_complete,
            last_step_at=view.updated_at or None,
        )


def serve_metrics(monitor: Monitor, host: str, port: int) -> int:
    """Answer scrapes in daemon threads until the process ends.

    Args:
        monitor: What to expose.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Returns:
        The port.

    Raises:
        OSError: The port is taken.
    """
    server = make_server(host, port, _make_application(monitor), _BoundedServer, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


def _make_application(monitor: Monitor) -> Callable[..., Iterable[bytes]]:
    """Answer ``/healthz`` and ``/metrics``, and 404 elsewhere."""
    metrics = ScrapeText(MonitorCollector(monitor))

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                accepted = (environ.get(name, "") for name in ("HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING"))
                headers, body = metrics.render(*accepted)
                start_response("200 OK", headers)
                return [body]
            case "/healthz":
                start_response("200 OK", [("Content-Type", "application/json")])
                return [json.dumps({"status": "ok", "phase": monitor.phase}).encode()]
            case _:
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"There are /metrics and /healthz.\n"]

    return answer


class _BoundedServer(ThreadingMixIn, WSGIServer):
    """One thread per connection, and ``MAX_CONNECTIONS`` of them."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        """Take the port."""
        super().__init__(address, handler)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:  # noqa: ANN401 - socketserver's type
        """Answer in a thread of its own if there is a place, else hang up."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:  # noqa: ANN401 - socketserver's type
        """Give the place back afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a scraper that went away; what fails in the answer itself is written by the handler."""


class _QuietHandler(WSGIRequestHandler):
    timeout = SOCKET_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of BaseHTTPRequestHandler
        """Say nothing: scrapes are no events of the training."""
