"""The live view: the whole curve on every scrape, over real HTTP."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from http.client import RemoteDisconnected
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from promtool import run_promtool
from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.metric_names import SERIES_LABELS
from worker.contract.results import EvalPoint
from worker.exporter import MAX_CONNECTIONS, METRICS, MonitorCollector, serve_metrics
from worker.monitor import Monitor

POINTS = (
    EvalPoint(step=0, validation_accuracy=0.25),
    EvalPoint(step=1, train_accuracy=0.5),
    EvalPoint(step=2, validation_accuracy=0.75),
)


@pytest.fixture
def monitor(make_config: Callable[..., RunConfig]) -> Monitor:
    return Monitor(make_config(Mode.FROZEN, seeds=(0, 7), eval_every=2))


@pytest.fixture
def labels(monitor: Monitor) -> dict[str, str]:
    source = monitor.config.backbone.source
    return {
        "comparison": "trial",
        "arm": "frozen-llama",
        "backbone": source,
        "mode": "frozen",
        "seed": "7",
        "source": "worker",
    }


@pytest.fixture
def registry(monitor: Monitor) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(MonitorCollector(monitor))
    return registry


def test_every_metric_of_the_contract_is_exposed_and_no_other(monitor: Monitor) -> None:
    monitor.show(7, POINTS, num_updates=1)
    port = serve_metrics(monitor, "127.0.0.1", 0)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))

    exposed = {sample.name for family in families for sample in family.samples}
    assert exposed == {name for metric in METRICS for name in metric.sample_labels}
    assert all(
        set(sample.labels) == set(SERIES_LABELS[sample.name]) for family in families for sample in family.samples
    )
    assert {family.documentation for family in families} == {metric.help for metric in METRICS}


def test_every_scored_point_is_exposed_under_its_step(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    monitor.show(7, POINTS, num_updates=1)
    exposed = {
        step: registry.get_sample_value("freeze_bench_eval_accuracy_by_step_ratio", {**labels, "step": str(step)})
        for step in range(4)
    }

    assert exposed == {0: 0.25, 1: None, 2: 0.75, 3: None}
    assert registry.get_sample_value("freeze_bench_eval_accuracy_ratio", labels) == 0.75
    assert registry.get_sample_value("freeze_bench_eval_accuracy_ratio", {**labels, "seed": "0"}) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("freeze_bench_training_step", 2),
        ("freeze_bench_optimizer_steps_total", 3 + 4),
        ("freeze_bench_eval_points_planned", 7),
        ("freeze_bench_eval_points_dropped_total", 0),
        ("freeze_bench_run_complete", 0),
    ],
)
def test_a_run_says_how_far_it_is(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str], name: str, expected: float
) -> None:
    monitor.show(7, POINTS, num_updates=3)
    monitor.show(7, POINTS, num_updates=4)

    assert registry.get_sample_value(name, labels) == expected


def test_the_exposed_steps_are_fixed_by_the_plan_and_what_is_left_out_is_counted(
    make_config: Callable[..., RunConfig], labels: dict[str, str]
) -> None:
    monitor = Monitor(make_config(Mode.FROZEN, seeds=(7,), steps=999))
    registry = CollectorRegistry()
    registry.register(MonitorCollector(monitor))
    exposed: set[str] = set()
    for last_step in (3, 500, 998, 999):
        points = [EvalPoint(step=step, validation_accuracy=0.5) for step in range(last_step + 1)]
        monitor.show(7, points, num_updates=1)
        exposed |= {
            sample.labels["step"]
            for family in registry.collect()
            for sample in family.samples
            if sample.name == "freeze_bench_eval_accuracy_by_step_ratio"
        }

    assert len(exposed) == 501  # every second one, and the last
    assert registry.get_sample_value("freeze_bench_eval_points_dropped_total", labels) == 499
    assert registry.get_sample_value("freeze_bench_eval_points_planned", labels) == 1000


def test_the_phase_and_what_is_run_are_said_in_labels(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    of_arm = {name: value for name, value in labels.items() if name != "seed"}
    info = {**labels, "dataset": "builtin:language-names", "revision": monitor.config.backbone.revision}

    with monitor.during("features"):
        assert registry.get_sample_value("freeze_bench_phase", {**of_arm, "phase": "features"}) == 1
        assert registry.get_sample_value("freeze_bench_phase", {**of_arm, "phase": "starting"}) == 0
    assert registry.get_sample_value("freeze_bench_run_info", info) == 1
    assert (registry.get_sample_value("freeze_bench_peak_memory_bytes", of_arm) or 0) > 10_000_000


def test_a_run_is_complete_when_it_says_so(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    monitor.runs[7].is_complete = True

    assert registry.get_sample_value("freeze_bench_run_complete", labels) == 1
    assert registry.get_sample_value("freeze_bench_run_complete", {**labels, "seed": "0"}) == 0


def test_health_is_answered_with_the_phase_and_other_paths_are_not_found(monitor: Monitor) -> None:
    port = serve_metrics(monitor, "127.0.0.1", 0)
    with monitor.during("loading"), urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert json.load(answer) == {"status": "ok", "phase": "loading"}
    with pytest.raises(HTTPError, match="404") as caught:
        urlopen(f"http://127.0.0.1:{port}/")

    caught.value.close()


def test_steps_are_counted_by_how_long_they_took(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    of_arm = {name: value for name, value in labels.items() if name != "seed"}
    for seconds in (0.001, 0.002, 0.3, 90.0):
        monitor.step_durations.observe(seconds)

    def below(bound: str) -> float | None:
        return registry.get_sample_value("freeze_bench_step_duration_seconds_bucket", {**of_arm, "le": bound})

    assert [below(bound) for bound in ("0.001", "0.0025", "0.25", "0.5", "60.0", "+Inf")] == [1, 2, 2, 3, 3, 4]
    assert registry.get_sample_value("freeze_bench_step_duration_seconds_count", of_arm) == 4
    assert registry.get_sample_value("freeze_bench_step_duration_seconds_sum", of_arm) == pytest.approx(90.303)


def test_scrapers_that_hang_are_hung_up_on_and_the_next_one_is_answered_when_they_go(monitor: Monitor) -> None:
    port = serve_metrics(monitor, "127.0.0.1", 0)
    hanging = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as too_many:
        assert too_many.recv(1) == b""  # hung up on, while the others wait for a request that does not come
    for connection in hanging:
        connection.close()

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError, RemoteDisconnected):
            return False

    deadline = time.monotonic() + 30
    while not answers():
        assert time.monotonic() < deadline, "no place was given back"


def test_a_port_that_is_taken_is_an_error(monitor: Monitor) -> None:
    port = serve_metrics(monitor, "127.0.0.1", 0)

    with pytest.raises(OSError, match="Address already in use"):
        serve_metrics(monitor, "127.0.0.1", port)


def test_a_scrape_shows_the_curve_as_it_is_then(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    def exposed(points: Sequence[EvalPoint]) -> float | None:
        monitor.show(7, points, num_updates=0)
        return registry.get_sample_value("freeze_bench_eval_accuracy_by_step_ratio", {**labels, "step": "0"})

    assert [exposed([EvalPoint(step=0, validation_accuracy=value)]) for value in (0.5, 0.25)] == [0.5, 0.25]


@pytest.mark.system
def test_the_linter_of_prometheus_has_nothing_against_the_metrics(monitor: Monitor) -> None:
    monitor.show(7, POINTS, num_updates=1)
    port = serve_metrics(monitor, "127.0.0.1", 0)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()

    linted = run_promtool("check", "metrics", text=text)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")
