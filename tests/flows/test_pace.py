"""How fast a worker goes, by what it says of itself."""

import pytest

from flows.pace import Pace
from worker.contract.results import Progress


def progress(num_updates: int, at: float, started_at: float = 90.0) -> Progress:
    return Progress(started_at=started_at, updated_at=at, num_updates=num_updates, num_planned=110)


def test_the_time_left_is_known_once_a_worker_was_seen_to_move() -> None:
    pace = Pace()
    assert pace.seconds_left is None
    pace.see(progress(10, at=100.0))
    assert pace.seconds_left is None
    pace.see(progress(30, at=105.0))

    assert pace.updates_per_second == pytest.approx(4)
    assert pace.seconds_left == pytest.approx(20)


def test_another_worker_is_measured_from_its_own_beginning() -> None:
    pace = Pace()
    pace.see(progress(10, at=100.0))
    pace.see(progress(100, at=101.0))
    pace.see(progress(20, at=200.0, started_at=190.0))
    pace.see(progress(30, at=210.0, started_at=190.0))

    assert pace.updates_per_second == pytest.approx(1)


def test_the_speed_of_a_worker_is_no_other_workers() -> None:
    pace = Pace()
    pace.see(progress(10, at=100.0))
    pace.see(progress(100, at=101.0))
    pace.see(progress(20, at=200.0, started_at=190.0))

    assert (pace.updates_per_second, pace.seconds_left) == (None, None)


def test_a_worker_that_stands_still_has_no_time_left_to_tell() -> None:
    pace = Pace()
    pace.see(progress(10, at=100.0))
    pace.see(progress(10, at=110.0))

    assert pace.seconds_left is None
