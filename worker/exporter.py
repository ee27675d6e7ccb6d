"""The worker's live view: ``/metrics`` with the whole curve on every scrape, and ``/healthz``.

A plain gauge that is scraped every 15 seconds keeps a handful of 111 points. Here every scrape carries every point so
far, under a ``step`` label that is bounded by ``MAX_CURVE_POINTS``.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.contract import metric_names as names
from worker.contract.results import EvalPoint
from worker.monitor import Monitor, peak_memory_bytes

SOCKET_SECONDS = 10.0
"""A scraper that does not read its answer for this long is dropped."""


def evaluated_points(points: Iterable[EvalPoint]) -> list[tuple[int, float]]:
    """Return step and validation accuracy of the points that have one."""
    return [(point.step, point.validation_accuracy) for point in points if point.validation_accuracy is not None]


def thin_curve(points: Sequence[tuple[int, float]], most: int = names.MAX_CURVE_POINTS) -> list[tuple[int, float]]:
    """Return at most ``most`` points: every k-th, and always the first and the last."""
    if len(points) <= most:
        return list(points)
    stride = -(-(len(points) - 1) // (most - 1))
    return [*points[:-1:stride], points[-1]]


class MonitorCollector(Collector):
    """Turns a monitor into metric families at each scrape; nothing is kept between scrapes."""

    def __init__(self, monitor: Monitor) -> None:
        """Read from this monitor."""
        self._monitor = monitor

    def collect(self) -> Iterable[Metric]:
        """Yield every family of ``worker.contract.metric_names``."""
        config = self._monitor.config
        info = InfoMetricFamily(
            names.RUN_INFO.removesuffix("_info"), "What this run is: the value is always 1.", labels=names.RUN_LABELS
        )
        steps = _counter(names.OPTIMIZER_STEPS, "Optimizer updates made by this process, over all candidates.")
        current = _gauge(names.TRAINING_STEP, "Step that training has reached.")
        accuracy = _gauge(names.EVAL_ACCURACY, "Latest validation accuracy, 0 to 1.")
        planned = _gauge(names.EVAL_POINTS_PLANNED, "Points of a complete curve.")
        dropped = _counter(names.EVAL_POINTS_DROPPED, "Points left out of the exposed curve to bound its labels.")
        stamp = _gauge(names.LAST_STEP_TIMESTAMP, "Unix time of the last step.")
        complete = _gauge(names.RUN_COMPLETE, "1 when the result is in the store, otherwise 0.")
        curve = GaugeMetricFamily(
            names.EVAL_ACCURACY_BY_STEP,
            "Validation accuracy, 0 to 1, of every step so far: the whole curve.",
            labels=(*names.RUN_LABELS, names.STEP_LABEL),
        )
        for seed, view in self._monitor.runs.items():
            labels = (config.comparison, config.arm.slug, config.arm.backbone.source, config.arm.mode, str(seed))
            info.add_metric(labels, {"dataset": config.data.source, "revision": config.backbone.revision})
            steps.add_metric(labels, view.num_updates)
            current.add_metric(labels, view.step)
            planned.add_metric(labels, len(config.training.eval_steps))
            complete.add_metric(labels, view.is_complete)
            evaluated = evaluated_points(view.points)
            points = thin_curve(evaluated)
            dropped.add_metric(labels, len(evaluated) - len(points))
            if view.updated_at:
                stamp.add_metric(labels, view.updated_at)
            for step, value in points:
                curve.add_metric((*labels, str(step)), value)
            if points:
                accuracy.add_metric(labels, points[-1][1])
        yield from (info, steps, current, accuracy, planned, dropped, stamp, complete, curve)
        yield from self._process_metrics()

    def _process_metrics(self) -> Iterable[Metric]:
        config = self._monitor.config
        arm_labels = names.RUN_LABELS[:-1]
        labels = (config.comparison, config.arm.slug, config.arm.backbone.source, config.arm.mode)
        phase = GaugeMetricFamily(
            names.PHASE, "1 for what the worker is doing now.", labels=(*arm_labels, names.PHASE_LABEL)
        )
        phase.add_metric((*labels, self._monitor.phase), 1)
        speed = GaugeMetricFamily(
            names.EXAMPLES_PER_SECOND, "Examples trained on or scored per second, in this phase.", labels=arm_labels
        )
        speed.add_metric(labels, self._monitor.examples_per_second)
        memory = GaugeMetricFamily(
            names.PEAK_MEMORY, "Most memory so far: of the GPU if one is used, else of the process.", labels=arm_labels
        )
        memory.add_metric(labels, peak_memory_bytes())
        yield from (phase, speed, memory)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=names.RUN_LABELS)


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=names.RUN_LABELS)


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
    registry = CollectorRegistry()
    registry.register(MonitorCollector(monitor))
    server = make_server(
        host, port, _with_health(make_wsgi_app(registry), monitor), _ThreadingServer, handler_class=_QuietHandler
    )
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server.server_port


def _with_health(metrics: Callable[..., Iterable[bytes]], monitor: Monitor) -> Callable[..., Iterable[bytes]]:
    """Answer ``/healthz`` and ``/metrics``, and 404 elsewhere."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                start_response("200 OK", [("Content-Type", "application/json")])
                return [json.dumps({"status": "ok", "phase": monitor.phase}).encode()]
            case _:
                start_response("404 Not Found", [("Content-Type", "text/plain")])
                return [b"There are /metrics and /healthz.\n"]

    return answer


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = SOCKET_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of BaseHTTPRequestHandler
        """Say nothing: scrapes are no events of the training."""
