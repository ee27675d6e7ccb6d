"""The names of the metrics: rules that Prometheus' own linter has, and some that it lacks."""

import re

import pytest

from worker.contract.metric_names import (
    ARM_LABELS,
    MAX_CURVE_POINTS,
    METRIC_NAMES,
    METRICS,
    RUN_LABELS,
    SERIES_LABELS,
    STEP_LABEL,
)
from worker.contract.metric_spec import Kind, MetricSpec, Samples, Source

SUFFIXES = {"ratio": "_ratio", "seconds": "_seconds", "Unix time": "_timestamp_seconds", "bytes": "_bytes"}


@pytest.fixture(params=METRICS, ids=lambda metric: metric.name)
def metric(request: pytest.FixtureRequest) -> MetricSpec:
    found: MetricSpec = request.param
    return found


def test_metric_names_are_fixed() -> None:
    assert {
        "freeze_bench_run_info",
        "freeze_bench_training_step",
        "freeze_bench_eval_accuracy_ratio",
        "freeze_bench_eval_accuracy_by_step_ratio",
        "freeze_bench_eval_points_planned",
        "freeze_bench_eval_points_dropped_total",
        "freeze_bench_run_complete",
        "freeze_bench_last_step_timestamp_seconds",
        "freeze_bench_optimizer_steps_total",
        "freeze_bench_step_duration_seconds",
        "freeze_bench_phase",
        "freeze_bench_examples_per_second",
        "freeze_bench_peak_memory_bytes",
        "freeze_bench_arm_state",
        "freeze_bench_arm_queued_seconds",
        "freeze_bench_arm_attempts",
        "freeze_bench_arm_exit_code",
        "freeze_bench_arm_progress_ratio",
        "freeze_bench_arm_remaining_seconds",
        "freeze_bench_arm_updated_timestamp_seconds",
        "freeze_bench_store_last_read_timestamp_seconds",
        "freeze_bench_store_read_failures_total",
        "freeze_bench_store_unreadable_records",
        "freeze_bench_arms_left_out",
    } == METRIC_NAMES


def test_labels_are_fixed() -> None:
    assert RUN_LABELS == ("comparison", "arm", "backbone", "mode", "seed", "source")
    assert ARM_LABELS == ("comparison", "arm", "backbone", "mode", "source")
    assert (STEP_LABEL, MAX_CURVE_POINTS) == ("step", 512)


def test_every_name_is_ours_and_used_once(metric: MetricSpec) -> None:
    assert re.fullmatch(r"freeze_bench_[a-z]+(_[a-z]+)*", metric.name)
    assert len(METRIC_NAMES) == len(METRICS)


def test_a_name_ends_in_its_unit_and_a_counter_in_total(metric: MetricSpec) -> None:
    assert metric.name.endswith(SUFFIXES.get(metric.unit, ""))
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert not re.search(r"percent|milli|_minutes|_hours", metric.name)


def test_every_metric_says_what_it_is_in_one_sentence(metric: MetricSpec) -> None:
    assert re.fullmatch(r"[A-Z0-9][^.\n]+\.", metric.help)


def test_no_label_clashes_with_those_of_a_target(metric: MetricSpec) -> None:
    assert not {"job", "instance", "pod", "le"} & set(metric.labels)


def test_what_is_said_of_an_arm_or_a_run_is_labelled_with_its_source(metric: MetricSpec) -> None:
    identity = RUN_LABELS if "seed" in metric.labels else ARM_LABELS if metric.labels else ()

    assert metric.labels[: len(identity)] == identity
    assert identity or metric.sources == (Source.STORE,)


def test_the_series_of_a_histogram_are_known_by_their_own_names() -> None:
    assert SERIES_LABELS["freeze_bench_step_duration_seconds_bucket"] == (*ARM_LABELS, "le")
    assert SERIES_LABELS["freeze_bench_step_duration_seconds_count"] == ARM_LABELS
    assert "freeze_bench_step_duration_seconds" not in SERIES_LABELS


def test_a_sample_that_lacks_a_label_is_refused_and_one_without_a_value_left_out(metric: MetricSpec) -> None:
    samples = Samples([metric])
    samples.add(metric, ["x"] * len(metric.labels), None)
    with pytest.raises(ValueError, match="zip"):
        samples.add(metric, ["x"] * (len(metric.labels) + 1), 1.0)

    assert list(samples.families()) == [(metric, [])]
