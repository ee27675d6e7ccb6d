"""Names and labels of the metrics: a stable contract between worker, flow side, rules and dashboard.

Ratios run from 0 to 1, times are seconds, memory is bytes.
"""

RUN_LABELS = ("comparison", "arm", "backbone", "mode", "seed")
"""Labels of every run's series: its identity, and what people filter by."""

STEP_LABEL = "step"
"""On the curve alone, and bounded by ``MAX_CURVE_POINTS``: every scrape carries the whole curve."""

PHASE_LABEL = "phase"
"""On the phase alone: starting, loading, features, training, writing."""

MAX_CURVE_POINTS = 512
"""Points per run that are exposed; a longer curve is thinned evenly, its first and last point kept."""

RUN_INFO = "freeze_bench_run_info"
OPTIMIZER_STEPS = "freeze_bench_optimizer_steps_total"
TRAINING_STEP = "freeze_bench_training_step"
EVAL_ACCURACY = "freeze_bench_eval_accuracy_ratio"
EVAL_ACCURACY_BY_STEP = "freeze_bench_eval_accuracy_by_step_ratio"
EVAL_POINTS_PLANNED = "freeze_bench_eval_points_planned"
EVAL_POINTS_DROPPED = "freeze_bench_eval_points_dropped_total"
LAST_STEP_TIMESTAMP = "freeze_bench_last_step_timestamp_seconds"
RUN_COMPLETE = "freeze_bench_run_complete"
PHASE = "freeze_bench_phase"
EXAMPLES_PER_SECOND = "freeze_bench_examples_per_second"
PEAK_MEMORY = "freeze_bench_peak_memory_bytes"

METRIC_NAMES = frozenset(
    {
        RUN_INFO,
        OPTIMIZER_STEPS,
        TRAINING_STEP,
        EVAL_ACCURACY,
        EVAL_ACCURACY_BY_STEP,
        EVAL_POINTS_PLANNED,
        EVAL_POINTS_DROPPED,
        LAST_STEP_TIMESTAMP,
        RUN_COMPLETE,
        PHASE,
        EXAMPLES_PER_SECOND,
        PEAK_MEMORY,
    }
)
