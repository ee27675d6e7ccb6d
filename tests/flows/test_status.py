"""The status board: what a watcher reads of every arm, at every moment."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.status import StatusBoard, read_status
from s3_server import S3Server
from worker.contract.errors import StoreError
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


def test_nothing_is_put_down_after_cancelling_or_closing(store: ResultsStore, board: StatusBoard) -> None:
    board.cancel_unfinished()
    board.enter("frozen-a", ArmState.RUNNING)
    board.set_reused("frozen-a", [1])
    assert (status(store).state, status(store).reused_seeds) == (ArmState.CANCELLED, ())


def test_a_closed_board_leaves_the_statuses_to_others(store: ResultsStore, board: StatusBoard) -> None:
    board.enter("frozen-a", ArmState.RUNNING)
    before = status(store)

    board.close()
    board.enter("frozen-a", ArmState.DONE)

    assert status(store) == before


def test_cancelling_does_not_wait_for_a_store_that_is_silent(
    plan: Plan, s3_url: str, s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    board = StatusBoard(ResultsStore(s3_url), plan, "run-7")
    errors: list[Exception] = []

    def write() -> None:
        try:
            board.enter("frozen-a", ArmState.RUNNING)
        except StoreError as error:
            errors.append(error)

    s3_server.cut()
    try:
        thread = threading.Thread(target=write)
        thread.start()
        started = time.monotonic()
        while "asking again" not in caplog.text:
            assert time.monotonic() < started + 30
            time.sleep(0.01)

        board.cancel_unfinished()

        assert time.monotonic() - started < 10
        thread.join()
    finally:
        s3_server.mend()
    assert len(errors) == 1
    assert "which is not put down" in caplog.text


@pytest.mark.parametrize("final", [ArmState.DONE, ArmState.REUSED, ArmState.FAILED])
def test_cancelling_leaves_what_has_ended(store: ResultsStore, board: StatusBoard, final: ArmState) -> None:
    board.enter("frozen-a", final)
    board.enter("live-b", ArmState.RUNNING)

    board.cancel_unfinished()

    assert status(store).state is final
    assert status(store, "live-b").state is ArmState.CANCELLED
    assert status(store, "live-b").ended_at is not None
