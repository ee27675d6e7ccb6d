"""Rounds: both sides in alternation, each measured once, and nothing measured twice after an interruption."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.machine import describe_machine
from benchmarks.measurement import Measurement, Side, side
from benchmarks.rounds import Task, measure_rounds
from benchmarks.unfinished import UnfinishedRounds

OURS, THEIRS, OTHER = side("acme:ours"), side("acme:theirs"), side("acme:other")
MACHINE = describe_machine("cpu")


def task(ours: Side, theirs: Side, pairs: int) -> Task:
    case = Case(title="work", work="work", ours=Reading(ours), theirs=Reading(theirs), pairs=pairs)
    return Claim(name="claim", sentence="It", quotient="ours/theirs", target=at_most(1), cases=(case,)), case


class Measurer:
    """Counts what it measures; the n-th measurement is n seconds."""

    def __init__(self, interrupted_at: int = 0, failing: Side | None = None) -> None:
        self.measured: list[Side] = []
        self._interrupted_at = interrupted_at
        self._failing = failing

    def __call__(self, one: Side) -> Measurement | None:
        if len(self.measured) + 1 == self._interrupted_at:
            raise KeyboardInterrupt
        self.measured.append(one)
        return None if one == self._failing else Measurement(values={"seconds": float(len(self.measured))})


def run(path: Path, tasks: Sequence[Task], measure: Measurer) -> list[list[list[float]]]:
    """Return the seconds of each case that is complete, pair by pair."""
    done = measure_rounds(tasks, UnfinishedRounds(path, MACHINE), measure, lambda _text: None)
    return [[[each.values["seconds"] for each in pair] for pair in pairs] for _, _, pairs in done]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "unfinished.jsonl"


def test_the_order_turns_from_pair_to_pair(path: Path) -> None:
    measure = Measurer()

    found = run(path, [task(OURS, THEIRS, 3)], measure)

    assert measure.measured == [OURS, THEIRS, THEIRS, OURS, OURS, THEIRS]
    assert found == [[[1, 2], [4, 3], [5, 6]]]


def test_a_side_that_two_claims_need_is_measured_once_a_round(path: Path) -> None:
    measure = Measurer()

    found = run(path, [task(OURS, THEIRS, 2), task(OURS, OTHER, 1)], measure)

    assert measure.measured == [OURS, THEIRS, OTHER, THEIRS, OURS]
    assert found == [[[1, 3]], [[1, 2], [5, 4]]]


def test_an_interrupted_benchmark_goes_on_where_it_was(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(path, [task(OURS, THEIRS, 2)], Measurer(interrupted_at=3))
    rest = Measurer()

    found = run(path, [task(OURS, THEIRS, 2)], rest)

    assert rest.measured == [THEIRS, OURS]
    assert found == [[[1, 2], [2, 1]]]


def test_a_line_that_was_torn_is_measured_again(path: Path) -> None:
    run(path, [task(OURS, THEIRS, 1)], Measurer())
    path.write_bytes(path.read_bytes()[:-30])
    rest = Measurer()

    run(path, [task(OURS, THEIRS, 1)], rest)
    last = Measurer()
    run(path, [task(OURS, THEIRS, 1)], last)

    assert (rest.measured, last.measured) == ([THEIRS], [])


def test_measurements_of_another_machine_are_forgotten(path: Path) -> None:
    run(path, [task(OURS, THEIRS, 1)], Measurer())
    other = MACHINE.model_copy(update={"num_cores": MACHINE.num_cores + 1})

    assert UnfinishedRounds(path, other).find(OURS, 0) is None


def test_a_finished_benchmark_measures_anew_the_next_time(path: Path) -> None:
    run(path, [task(OURS, THEIRS, 1)], Measurer())
    UnfinishedRounds(path, MACHINE).forget()

    assert UnfinishedRounds(path, MACHINE).find(OURS, 0) is None


def test_a_side_that_fails_costs_its_own_case_only(path: Path) -> None:
    found = run(path, [task(OURS, THEIRS, 1), task(OTHER, THEIRS, 1)], Measurer(failing=OURS))

    assert found == [[[3, 2]]]


def test_sides_with_the_same_options_are_one_whatever_their_order() -> None:
    one, other = side("acme:one", steps=1, rate=2.0), side("acme:one", rate=2.0, steps=1)

    assert one == other
    assert one.key == other.key
    assert one.key != side("acme:one", steps=2, rate=2.0).key
