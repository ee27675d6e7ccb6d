"""The live view: the whole curve on every scrape, over real HTTP."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.metric_names import MAX_CURVE_POINTS, METRIC_NAMES
from worker.contract.results import EvalPoint
from worker.exporter import MonitorCollector, serve_metrics, thin_curve
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
    return {"comparison": "trial", "arm": "frozen-llama", "backbone": source, "mode": "frozen", "seed": "7"}


@pytest.fixture
def registry(monitor: Monitor) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(MonitorCollector(monitor))
    return registry


@given(st.integers(0, 2000), st.integers(2, 600))
@settings(deadline=None, max_examples=100)
def test_a_thinned_curve_is_bounded_even_and_keeps_both_ends(num_points: int, most: int) -> None:
    points = [(step, step / 10_000) for step in range(num_points)]
    thinned = thin_curve(points, most)
    steps = [step for step, _ in thinned]

    assert len(thinned) <= most
    assert thinned == [points[step] for step in steps]
    assert thinned[:1] + thinned[-1:] == points[:1] + points[-1:]
    assert num_points > most or thinned == points
    if len(steps) > 2:
        assert len({later - earlier for earlier, later in pairwise(steps[:-1])}) <= 1
    assert num_points <= most or len(thinned) > most // 2


def test_a_curve_that_fits_is_exposed_whole() -> None:
    points = [(step, 0.5) for step in range(MAX_CURVE_POINTS)]

    assert thin_curve(points) == points
    assert len(thin_curve([*points, (MAX_CURVE_POINTS, 0.5)])) <= MAX_CURVE_POINTS


def test_every_metric_of_the_contract_is_exposed_and_no_other(monitor: Monitor) -> None:
    monitor.show(7, 2, POINTS, num_updates=1)
    port = serve_metrics(monitor, "127.0.0.1", 0)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))

    assert {sample.name for family in families for sample in family.samples} == METRIC_NAMES
    assert all(family.documentation for family in families)


def test_every_scored_point_is_exposed_under_its_step(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    monitor.show(7, 2, POINTS, num_updates=1)
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
        ("freeze_bench_training_step", 5),
        ("freeze_bench_optimizer_steps_total", 3 + 4),
        ("freeze_bench_eval_points_planned", 7),
        ("freeze_bench_eval_points_dropped_total", 0),
        ("freeze_bench_run_complete", 0),
    ],
)
def test_a_run_says_how_far_it_is(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str], name: str, expected: float
) -> None:
    monitor.show(7, 2, POINTS, num_updates=3)
    monitor.show(7, 5, POINTS, num_updates=4)

    assert registry.get_sample_value(name, labels) == expected


def test_points_that_are_left_out_are_counted(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    points = [EvalPoint(step=step, validation_accuracy=0.5) for step in range(1000)]
    monitor.show(7, 999, points, num_updates=1)
    exposed = [
        sample
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "freeze_bench_eval_accuracy_by_step_ratio"
    ]

    assert len(exposed) == 501  # every second one, and the last
    assert registry.get_sample_value("freeze_bench_eval_points_dropped_total", labels) == 499


def test_the_phase_and_what_is_run_are_said_in_labels(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    of_arm = {name: value for name, value in labels.items() if name != "seed"}
    info = {**labels, "dataset": "builtin:language-names", "revision": monitor.config.backbone.revision}

    with monitor.during("features"):
        assert registry.get_sample_value("freeze_bench_phase", {**of_arm, "phase": "features"}) == 1
        assert registry.get_sample_value("freeze_bench_phase", {**of_arm, "phase": "starting"}) is None
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


def test_a_port_that_is_taken_is_an_error(monitor: Monitor) -> None:
    port = serve_metrics(monitor, "127.0.0.1", 0)

    with pytest.raises(OSError, match="Address already in use"):
        serve_metrics(monitor, "127.0.0.1", port)


def test_a_scrape_shows_the_curve_as_it_is_then(
    monitor: Monitor, registry: CollectorRegistry, labels: dict[str, str]
) -> None:
    def exposed(points: Sequence[EvalPoint]) -> float | None:
        monitor.show(7, 0, points, num_updates=0)
        return registry.get_sample_value("freeze_bench_eval_accuracy_by_step_ratio", {**labels, "step": "0"})

    assert [exposed([EvalPoint(step=0, validation_accuracy=value)]) for value in (0.5, 0.25)] == [0.5, 0.25]
