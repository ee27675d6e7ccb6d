"""Every metric that freeze-bench exposes: a stable contract between worker, flow side, rules and dashboard.

Ratios run from 0 to 1, times are seconds, memory is bytes. ``docs/metrics.md`` is written from here.
"""

from typing import Literal, get_args

from worker.contract.metric_spec import Kind, MetricSpec, Source
from worker.contract.results import ArmState

RUN_LABELS = ("comparison", "arm", "backbone", "mode", "seed", "source")
"""Labels of every run's series: its identity, and who says it."""

ARM_LABELS = tuple(label for label in RUN_LABELS if label != "seed")
"""Labels of what is said of an arm with all its seeds."""

STEP_LABEL = "step"
"""On the curve alone, and bounded by ``MAX_CURVE_POINTS``: every scrape carries the whole curve."""

MAX_CURVE_POINTS = 512
"""Points per run that are exposed. Which ones, its plan decides: see ``worker.contract.curve_grid``."""

Phase = Literal["starting", "importing", "loading", "features", "training", "writing"]
"""What a worker may be doing."""

PHASES: tuple[Phase, ...] = get_args(Phase)
STATES = tuple(str(state) for state in ArmState)

_WORKER, _STORE = (Source.WORKER,), (Source.STORE,)
_BOTH = (*_WORKER, *_STORE)

RUN_INFO = MetricSpec(
    name="freeze_bench_run_info",
    kind=Kind.INFO,
    unit="always 1",
    labels=(*RUN_LABELS, "dataset", "revision"),
    sources=_BOTH,
    help="What a run is made of: its data set, and the pinned revision of its backbone.",
)
TRAINING_STEP = MetricSpec(
    name="freeze_bench_training_step",
    unit="steps",
    labels=RUN_LABELS,
    sources=_BOTH,
    help="Last step of the curve that is shown: that of the candidate that leads.",
)
EVAL_ACCURACY = MetricSpec(
    name="freeze_bench_eval_accuracy_ratio",
    unit="ratio",
    labels=RUN_LABELS,
    sources=_BOTH,
    help="Latest validation accuracy.",
)
EVAL_ACCURACY_BY_STEP = MetricSpec(
    name="freeze_bench_eval_accuracy_by_step_ratio",
    unit="ratio",
    labels=(*RUN_LABELS, STEP_LABEL),
    sources=_BOTH,
    help="Validation accuracy of every step so far: the whole curve.",
)
EVAL_POINTS_PLANNED = MetricSpec(
    name="freeze_bench_eval_points_planned",
    unit="points",
    labels=RUN_LABELS,
    sources=_BOTH,
    help="Points of a complete curve: those that are exposed, and those that are dropped.",
)
EVAL_POINTS_DROPPED = MetricSpec(
    name="freeze_bench_eval_points_dropped_total",
    kind=Kind.COUNTER,
    unit="points",
    labels=RUN_LABELS,
    sources=_BOTH,
    help="Points so far that are left out of the exposed curve, to bound the number of its series.",
)
RUN_COMPLETE = MetricSpec(
    name="freeze_bench_run_complete",
    unit="0 or 1",
    labels=RUN_LABELS,
    sources=_BOTH,
    help="1 when the result of the run is in the results store.",
)
LAST_STEP_TIMESTAMP = MetricSpec(
    name="freeze_bench_last_step_timestamp_seconds",
    unit="Unix time",
    labels=RUN_LABELS,
    sources=_BOTH,
    help="When the last step was made; as told by the store, when progress was last written.",
)
OPTIMIZER_STEPS = MetricSpec(
    name="freeze_bench_optimizer_steps_total",
    kind=Kind.COUNTER,
    unit="steps",
    labels=RUN_LABELS,
    sources=_WORKER,
    help="Optimizer updates made by this process, over all candidates.",
)
STEP_DURATION = MetricSpec(
    name="freeze_bench_step_duration_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    labels=ARM_LABELS,
    sources=_WORKER,
    help="Time from one step to the next: batch, update, evaluation where one is due, checkpoint and records.",
)
PHASE = MetricSpec(
    name="freeze_bench_phase",
    unit="0 or 1",
    labels=(*ARM_LABELS, "phase"),
    sources=_WORKER,
    help="1 for what the worker is doing now, 0 for everything else that it may do.",
)
EXAMPLES_PER_SECOND = MetricSpec(
    name="freeze_bench_examples_per_second",
    unit="examples per second",
    labels=ARM_LABELS,
    sources=_WORKER,
    help="Examples trained on or scored per second, in this phase.",
)
PEAK_MEMORY = MetricSpec(
    name="freeze_bench_peak_memory_bytes",
    unit="bytes",
    labels=ARM_LABELS,
    sources=_WORKER,
    help="Most memory so far: of the GPU if one is used, else of the process.",
)
ARM_STATE = MetricSpec(
    name="freeze_bench_arm_state",
    unit="0 or 1",
    labels=(*ARM_LABELS, "state"),
    sources=_STORE,
    help="1 for the state that the arm is in, 0 for the others.",
)
ARM_QUEUED = MetricSpec(
    name="freeze_bench_arm_queued_seconds",
    unit="seconds",
    labels=ARM_LABELS,
    sources=_STORE,
    help="Time that the arm has waited for a place; grows while it is queued.",
)
ARM_ATTEMPTS = MetricSpec(
    name="freeze_bench_arm_attempts",
    unit="attempts",
    labels=ARM_LABELS,
    sources=_STORE,
    help="How often a worker was started for the arm: the most of any of its seeds.",
)
ARM_EXIT_CODE = MetricSpec(
    name="freeze_bench_arm_exit_code",
    unit="exit code",
    labels=ARM_LABELS,
    sources=_STORE,
    help="How an arm in a final state ended: 0 with results, else the failure's code.",
)
ARM_PROGRESS = MetricSpec(
    name="freeze_bench_arm_progress_ratio",
    unit="ratio",
    labels=ARM_LABELS,
    sources=_STORE,
    help="Optimizer updates made by the arm's last worker, out of all that it was to make.",
)
ARM_REMAINING = MetricSpec(
    name="freeze_bench_arm_remaining_seconds",
    unit="seconds",
    labels=ARM_LABELS,
    sources=_STORE,
    help="How long a running arm still takes at the speed that it has shown so far.",
)
ARM_UPDATED_TIMESTAMP = MetricSpec(
    name="freeze_bench_arm_updated_timestamp_seconds",
    unit="Unix time",
    labels=ARM_LABELS,
    sources=_STORE,
    help="Last news of the arm, from the flow or from its worker.",
)
STORE_LAST_READ_TIMESTAMP = MetricSpec(
    name="freeze_bench_store_last_read_timestamp_seconds",
    unit="Unix time",
    labels=(),
    sources=_STORE,
    help="When the results store last answered a look at it.",
)
STORE_READ_FAILURES = MetricSpec(
    name="freeze_bench_store_read_failures_total",
    kind=Kind.COUNTER,
    unit="looks",
    labels=(),
    sources=_STORE,
    help="Looks at the results store that came to nothing because it did not answer.",
)
STORE_UNREADABLE_RECORDS = MetricSpec(
    name="freeze_bench_store_unreadable_records",
    unit="records",
    labels=(),
    sources=_STORE,
    help="Records in the results store that are torn or foreign, as of the last look.",
)
ARMS_LEFT_OUT = MetricSpec(
    name="freeze_bench_arms_left_out",
    unit="arms",
    labels=(),
    sources=_STORE,
    help="Arms of the last day that are not exposed because newer ones have all the samples that may be shown.",
)

METRICS = tuple(value for value in tuple(globals().values()) if isinstance(value, MetricSpec))
"""All of them, in the order in which they are exposed and documented."""

METRIC_NAMES = frozenset(metric.name for metric in METRICS)

SERIES_LABELS = {name: labels for metric in METRICS for name, labels in metric.sample_labels.items()}
"""Label names by the name of each series that Prometheus stores: those of a histogram carry suffixes."""
