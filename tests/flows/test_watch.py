"""Watching: what is shown of a store that others write."""

import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path, PurePosixPath

import pytest
from rich.console import Console

from flows.status import StatusBoard
from flows.watch import ArmView, Watch
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, EvalPoint, Failure, Progress
from worker.contract.store import PROGRESS_FILE, ResultsStore, RunRecords, arm_folder

Wait = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path))


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan("Frozen A", "Live [B]", steps=4, seeds=(0, 1))


def put_curve(store: ResultsStore, arm: str, seed: int, *accuracies: float | None) -> None:
    points = [EvalPoint(step=step, validation_accuracy=value) for step, value in enumerate(accuracies)]
    store.write_rows(RunRecords(store, "first-try", arm, seed).curve, points)


def put_progress(store: ResultsStore, arm: str, num_updates: int) -> None:
    """Write what a worker that has just started says of itself."""
    now = time.time()
    progress = Progress(started_at=now, updated_at=now, num_updates=num_updates, num_planned=8)
    store.write_record(arm_folder("first-try", arm) / PROGRESS_FILE, progress)


def plain() -> Console:
    return Console(file=StringIO(), force_terminal=False, width=80)


def text(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def fail_on_error(message: str) -> None:
    pytest.fail(message)


def look_once(store: ResultsStore, plan: Plan, console: Console, change: Callable[[StatusBoard], None]) -> Watch:
    """Watch while a board is changed; the last look is taken after that."""
    watch = Watch(store, plan, console, fail_on_error)
    with watch:
        change(StatusBoard(store, plan, "run"))
    return watch


def test_without_a_terminal_each_change_is_one_plain_line(store: ResultsStore, plan: Plan, wait_until: Wait) -> None:
    console = plain()
    with Watch(store, plan, console, fail_on_error):
        board = StatusBoard(store, plan, "run")
        board.enter("frozen-a", ArmState.RUNNING)
        wait_until(lambda: "Frozen A: running\n" in text(console), "the first line")
        put_curve(store, "frozen-a", 0, 0.25, 0.5, 0.5, 0.75, 0.75)
        put_curve(store, "frozen-a", 1, 0.25, 0.5, 0.5, 0.5, 0.5)
        put_progress(store, "frozen-a", 8)
        board.enter("frozen-a", ArmState.DONE)
        wait_until(lambda: "Frozen A: done" in text(console), "the second line")
        board.enter("live-b", ArmState.FAILED, failure=Failure(exit_code=43, problem="Too [large].", remedy="Less."))

    first, second, third = text(console).splitlines()
    assert first == "Frozen A: running"
    assert second.startswith("Frozen A: done, accuracy 0.625 at step 4, ")
    assert third == "Live [B]: failed: Too [large]."


def test_what_happens_right_before_the_end_is_still_said(store: ResultsStore, plan: Plan) -> None:
    console = plain()

    look_once(store, plan, console, lambda board: board.enter("frozen-a", ArmState.CANCELLED))

    assert text(console) == "Frozen A: cancelled\n"


def test_statuses_of_an_earlier_run_are_not_news(store: ResultsStore, plan: Plan) -> None:
    earlier = StatusBoard(store, plan, "earlier")
    earlier.enter("frozen-a", ArmState.DONE)
    console = plain()

    with Watch(store, plan, console, fail_on_error) as watch:
        pass

    assert text(console) == ""
    assert cells(watch)[0][1] == "waiting"


def test_what_an_earlier_attempt_left_is_not_shown_before_its_arms_worker_trains(
    store: ResultsStore, plan: Plan
) -> None:
    for seed in plan.seeds:
        put_curve(store, "frozen-a", seed, 0.25, 0.5)
    put_progress(store, "frozen-a", 8)

    queued = look_once(store, plan, plain(), lambda board: board.enter("frozen-a", ArmState.QUEUED))
    running = look_once(store, plan, plain(), lambda board: board.enter("frozen-a", ArmState.RUNNING))

    assert cells(queued)[0] == ["Frozen A", "queued", "", "", "", ""]
    assert cells(running)[0] == ["Frozen A", "running", "", "", "", ""]


def test_a_terminal_gets_a_table_that_grows_and_goes(store: ResultsStore, plan: Plan, wait_until: Wait) -> None:
    console = Console(file=StringIO(), force_terminal=True, width=80, height=20)
    with Watch(store, plan, console, fail_on_error):
        board = StatusBoard(store, plan, "run")
        board.enter("frozen-a", ArmState.RUNNING)
        for seed in plan.seeds:
            put_curve(store, "frozen-a", seed, 0.25, 0.5)
        put_progress(store, "frozen-a", 2)
        wait_until(lambda: "2/8" in text(console), "the first step")
        for seed in plan.seeds:
            put_curve(store, "frozen-a", seed, 0.25, 0.5, None, 0.75)
        put_progress(store, "frozen-a", 6)
        wait_until(lambda: "6/8" in text(console), "the third step")

    shown = text(console)
    assert all(word in shown for word in ("Frozen A", "Live [B]", "running", "waiting", "0.500", "0.750", "updates/s"))
    assert shown.endswith("\x1b[2K")  # transient: the last thing is that its lines are cleared


def test_updates_are_counted_over_all_seeds_and_accuracy_is_of_those_that_have_begun(
    store: ResultsStore, plan: Plan
) -> None:
    def start(board: StatusBoard) -> None:
        board.enter("frozen-a", ArmState.RUNNING)
        board.enter("live-b", ArmState.RUNNING)
        put_progress(store, "frozen-a", 3)
        put_progress(store, "live-b", 2)

    put_curve(store, "frozen-a", 0, 0.25, 0.5, 0.5)
    put_curve(store, "frozen-a", 1, 0.25, 0.25)
    put_curve(store, "live-b", 0, 0.25, 0.5, 0.75)
    watch = look_once(store, plan, plain(), start)

    assert cells(watch)[0][2:4] == ["3/8", "0.375"]
    assert cells(watch)[1][2:4] == ["2/8", "0.750"]


def test_the_time_left_follows_from_the_speed_so_far(plan: Plan) -> None:
    view = ArmView(plan.arms[0])
    status = ArmStatus(state=ArmState.RUNNING, flow_run="run", seeds=(0,), updated_at=0)

    def progress(num_updates: int, at: float) -> Progress:
        return Progress(started_at=90.0, updated_at=at, num_updates=num_updates, num_planned=110)

    view.see(status, progress(10, at=100.0), [])
    assert view.seconds_left is None
    view.see(status, progress(30, at=105.0), [])
    assert view.pace.updates_per_second == pytest.approx(4)
    assert view.seconds_left == pytest.approx(20)
    view.see(status.model_copy(update={"state": ArmState.DONE}), progress(110, at=125.0), [])
    assert view.seconds_left is None


def test_a_store_that_cannot_be_read_is_told_once_and_stops_nothing(
    store: ResultsStore, plan: Plan, wait_until: Wait
) -> None:
    told: list[str] = []
    store.write(PurePosixPath("first-try/runs/frozen-a/status.json"), b"{torn")

    with Watch(store, plan, plain(), told.append):
        wait_until(lambda: told, "the message")
        time_of_last_look = time.monotonic()

    assert time.monotonic() - time_of_last_look < 5
    (message,) = told
    assert message.startswith("The results store cannot be watched: ")
    assert "status.json is not a ArmStatus" in message


def test_a_torn_curve_of_an_earlier_attempt_does_not_end_the_watch(
    store: ResultsStore, plan: Plan, wait_until: Wait
) -> None:
    for seed in plan.seeds:
        store.write(RunRecords(store, "first-try", "frozen-a", seed).curve, b'{"step":0,"validation_accuracy":0.2')
    console = plain()

    with Watch(store, plan, console, lambda _message: None):
        board = StatusBoard(store, plan, "run")
        board.enter("frozen-a", ArmState.RUNNING)
        wait_until(lambda: "Frozen A: running" in text(console), "the first line", seconds=5)
        board.enter("live-b", ArmState.RUNNING)
        wait_until(lambda: "Live [B]: running" in text(console), "the second line", seconds=5)


def cells(watch: Watch) -> list[list[str]]:
    """Return the table's cells as plain text, a list per arm."""
    table = watch.table()
    console = Console(width=80, file=StringIO())
    columns = [[console.render_str(str(cell)).plain for cell in column.cells] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]
