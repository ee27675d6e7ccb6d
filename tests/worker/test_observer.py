"""What an arm's metrics are told of its trainings."""

from collections.abc import Callable

import pytest
import torch
from prometheus_client import CollectorRegistry

from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.results import EvalPoint
from worker.contract.store import ResultsStore
from worker.evaluate import Evaluation
from worker.exporter import MonitorCollector
from worker.monitor import Monitor
from worker.observer import ArmObserver
from worker.recorder import RunRecorder
from worker.traces import RunKey, RunTrace


@pytest.fixture
def monitor(make_config: Callable[..., RunConfig]) -> Monitor:
    return Monitor(make_config(Mode.FROZEN))


@pytest.fixture
def observer(monitor: Monitor) -> ArmObserver:
    config = monitor.config
    store = ResultsStore(config.execution.results)
    return ArmObserver(config, monitor, {0: RunRecorder(store, config, 0)}, store)


def test_every_step_that_was_made_here_is_timed_and_counted(monitor: Monitor, observer: ArmObserver) -> None:
    trace = RunTrace(RunKey(0, 0.03, None))
    for first, last in ((0, 3), (3, 5)):  # the second is a training that is resumed at step 3
        observe = observer.of_training()
        for step in range(first, last + 1):
            trace.points = [EvalPoint(step=at, validation_accuracy=0.5) for at in range(step + 1)]
            observe(step, [trace])

    durations = monitor.step_durations.snapshot()
    assert sum(durations.counts) == 3 + 2
    assert 0 < durations.total < 60
    assert monitor.runs[0].num_updates == 5


def trace_of(head_lr: float, accuracies: list[float]) -> RunTrace:
    """Return what a candidate has shown that was scored at every step."""
    trace = RunTrace(RunKey(0, head_lr, None))
    for step, accuracy in enumerate(accuracies):
        trace.record(step, Evaluation(torch.zeros(1, dtype=torch.long), accuracy, 1.0), None)
    return trace


def test_the_step_that_is_shown_is_of_the_curve_that_is_shown(monitor: Monitor, observer: ArmObserver) -> None:
    first, second = trace_of(0.03, [0.25, 0.5, 0.75]), trace_of(0.1, [0.25, 0.5])
    observer.of_training()(2, [first])
    observer.of_training([first])(1, [second])
    registry = CollectorRegistry()
    registry.register(MonitorCollector(monitor))
    shown = {
        sample.name: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name in {"freeze_bench_training_step", "freeze_bench_eval_accuracy_ratio"}
    }

    # The second candidate is at step 1; the curve is still the first one's, as in the results store.
    assert shown == {"freeze_bench_training_step": 2, "freeze_bench_eval_accuracy_ratio": 0.75}
