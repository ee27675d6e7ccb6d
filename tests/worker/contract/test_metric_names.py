"""Metric names and labels: what dashboards and rules build on."""

from worker.contract import metric_names


def test_metric_names_are_fixed() -> None:
    assert {
        "freeze_bench_run_info",
        "freeze_bench_optimizer_steps_total",
        "freeze_bench_training_step",
        "freeze_bench_eval_accuracy_ratio",
        "freeze_bench_eval_accuracy_by_step_ratio",
        "freeze_bench_eval_points_planned",
        "freeze_bench_eval_points_dropped_total",
        "freeze_bench_last_step_timestamp_seconds",
        "freeze_bench_run_complete",
        "freeze_bench_phase",
        "freeze_bench_examples_per_second",
        "freeze_bench_peak_memory_bytes",
    } == metric_names.METRIC_NAMES


def test_labels_are_fixed() -> None:
    assert metric_names.RUN_LABELS == ("comparison", "arm", "backbone", "mode", "seed")
    assert (metric_names.STEP_LABEL, metric_names.PHASE_LABEL) == ("step", "phase")
    assert metric_names.MAX_CURVE_POINTS == 512
