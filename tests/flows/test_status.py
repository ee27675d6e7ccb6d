"""The status board: what a watcher reads of every arm, at every moment."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.status import StatusBoard, read_status
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, Failure
from worker.contract.store import ResultsStore

FAILURE = Failure(exit_code=42, problem="It has no weights.", remedy="Give it some.")


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path))


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan("Frozen A", "Live B", seeds=(0, 1))


@pytest.fixture
def board(store: ResultsStore, plan: Plan) -> StatusBoard:
    return StatusBoard(store, plan, "run-7")


def status(store: ResultsStore, arm: str = "frozen-a") -> ArmStatus:
    found = read_status(store, "first-try", arm)
    assert found is not None
    return found


def test_an_arm_of_a_comparison_that_never_ran_has_no_status(store: ResultsStore) -> None:
    assert read_status(store, "first-try", "frozen-a") is None


@pytest.mark.usefixtures("board")
def test_at_first_every_arm_waits(store: ResultsStore) -> None:
    for arm in ("frozen-a", "live-b"):
        found = status(store, arm)
        assert (found.state, found.flow_run, found.seeds) == (ArmState.WAITING, "run-7", (0, 1))
        assert (found.queued_at, found.started_at, found.ended_at) == (None, None, None)


def test_a_status_keeps_when_each_thing_happened(store: ResultsStore, board: StatusBoard) -> None:
    board.enter("frozen-a", ArmState.QUEUED)
    queued = status(store)
    board.enter("frozen-a", ArmState.RUNNING)
    running = status(store)
    board.enter("frozen-a", ArmState.DONE)
    done = status(store)

    assert queued.queued_at == queued.updated_at
    assert (running.queued_at, running.started_at) == (queued.queued_at, running.updated_at)
    assert (done.queued_at, done.started_at, done.ended_at) == (queued.queued_at, running.started_at, done.updated_at)
    assert status(store, "live-b").state is ArmState.WAITING


def test_a_failure_is_kept_until_the_arm_goes_on(store: ResultsStore, board: StatusBoard) -> None:
    board.enter("frozen-a", ArmState.FAILED, failure=FAILURE)
    assert (status(store).state, status(store).failure) == (ArmState.FAILED, FAILURE)

    board.enter("frozen-a", ArmState.RUNNING)
    assert status(store).failure is None


def test_an_arm_that_is_tried_again_has_not_ended(store: ResultsStore, board: StatusBoard) -> None:
    for state in (ArmState.QUEUED, ArmState.RUNNING, ArmState.FAILED, ArmState.QUEUED):
        board.enter("frozen-a", state)

    assert status(store).ended_at is None


def test_reused_seeds_are_named(store: ResultsStore, board: StatusBoard) -> None:
    board.set_reused("frozen-a", [1])
    board.enter("frozen-a", ArmState.DONE)

    assert status(store).reused_seeds == (1,)


@pytest.mark.parametrize("final", [ArmState.DONE, ArmState.REUSED, ArmState.FAILED])
def test_cancelling_leaves_what_has_ended(store: ResultsStore, board: StatusBoard, final: ArmState) -> None:
    board.enter("frozen-a", final)
    board.enter("live-b", ArmState.RUNNING)

    board.cancel_unfinished()

    assert status(store).state is final
    assert status(store, "live-b").state is ArmState.CANCELLED
    assert status(store, "live-b").ended_at is not None
