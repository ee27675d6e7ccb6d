"""What a worker is doing now, and how long it took."""

import time
from collections.abc import Callable
from typing import NoReturn

import psutil
import pytest

from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.results import EvalPoint
from worker.monitor import Monitor, peak_memory_bytes


@pytest.fixture
def monitor(make_config: Callable[..., RunConfig]) -> Monitor:
    return Monitor(make_config(Mode.FROZEN, seeds=(0, 1)))


def test_phases_that_come_again_add_up(monitor: Monitor) -> None:
    for _ in range(2):
        with monitor.during("features"):
            time.sleep(0.02)
        with monitor.during("training"):
            assert monitor.phase == "training"

    assert set(monitor.seconds_by_phase) == {"starting", "features", "training"}
    assert monitor.seconds_by_phase["features"] >= 0.04


def test_a_phase_that_fails_is_measured_too(monitor: Monitor) -> None:
    def fail() -> NoReturn:
        with monitor.during("training"):
            time.sleep(0.01)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert monitor.seconds_by_phase["training"] >= 0.01


def test_throughput_is_of_the_present_phase(monitor: Monitor) -> None:
    with monitor.during("features"):
        time.sleep(0.01)
        monitor.count_examples(1_000_000)
        fast = monitor.examples_per_second
    with monitor.during("training"):
        time.sleep(0.01)
        monitor.count_examples(1)

    assert 0 < monitor.examples_per_second <= 100 < fast


def test_what_is_shown_of_a_run_is_replaced_whole_and_its_updates_add_up(monitor: Monitor) -> None:
    points = [EvalPoint(step=0)]
    monitor.show(1, points, num_updates=2)
    points.append(EvalPoint(step=1))
    monitor.show(1, [EvalPoint(step=9)], num_updates=2)

    assert monitor.runs[1].points == (EvalPoint(step=9),)
    assert monitor.runs[1].num_updates == 4
    assert abs(monitor.runs[1].updated_at - time.time()) < 60
    assert (monitor.runs[0].points, monitor.runs[0].updated_at) == ((), 0.0)


def test_peak_memory_is_that_of_this_process_in_bytes() -> None:
    resident = psutil.Process().memory_info().rss

    assert 0.9 * resident < peak_memory_bytes() < 100 * resident
