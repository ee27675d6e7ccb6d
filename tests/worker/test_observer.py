"""What an arm's metrics are told of its trainings."""

from collections.abc import Callable

import pytest

from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.results import EvalPoint
from worker.contract.store import ResultsStore
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
    assert (monitor.runs[0].step, monitor.runs[0].num_updates) == (5, 5)
