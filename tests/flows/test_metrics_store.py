"""What the flow side's metrics say of the arms in a results store."""

import logging
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from flows.metrics.comparison_reader import SLOW_LOOK_SECONDS
from store_looking import ARM, DAY, NOW, RISING, RUN, Looking
from stored_arms import StoredArms
from worker.contract.arms import Arm
from worker.contract.plan import Plan
from worker.contract.results import ArmState, Failure
from worker.contract.store import ResultsStore, arm_folder, run_folder


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results"))


@pytest.fixture
def arms(store: ResultsStore, make_plan: Callable[..., Plan]) -> StoredArms:
    arms = StoredArms(store, make_plan("Frozen A", "Live B", seeds=(0, 1)))
    arms.put_plan()
    return arms


@pytest.fixture
def looking(store: ResultsStore) -> Looking:
    return Looking(store)


@pytest.fixture
def frozen(arms: StoredArms) -> Arm:
    return arms.plan.arms[0]


def test_a_finished_arm_is_shown_with_every_point_and_how_it_ended(arms: StoredArms, looking: Looking) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW)
    looking.look()

    curve = {
        int(each["step"]): looking.value("eval_accuracy_by_step_ratio", each)
        for each in looking.series("eval_accuracy_by_step_ratio")
        if RUN.items() <= each.items()
    }
    assert curve == dict(enumerate(RISING))
    assert looking.state(ARM) == "done"
    info = {"dataset": "news.csv", "revision": "c" * 40}
    assert looking.value("run_info", RUN, **info) == 1
    assert {name: looking.value(name, RUN) for name in ("training_step", "eval_accuracy_ratio", "run_complete")} == {
        "training_step": 4,
        "eval_accuracy_ratio": 0.75,
        "run_complete": 1,
    }
    assert looking.value("eval_points_planned", RUN) == 5
    assert looking.value("eval_points_dropped_total", RUN) == 0
    assert looking.value("last_step_timestamp_seconds", RUN) == NOW
    assert looking.value("arm_queued_seconds", ARM) == 5
    assert looking.value("arm_attempts", ARM) == 1
    assert looking.value("arm_exit_code", ARM) == 0
    assert looking.value("arm_progress_ratio", ARM) == 1
    assert looking.value("arm_remaining_seconds", ARM) is None
    assert looking.value("arm_updated_timestamp_seconds", ARM) == NOW


def test_an_arm_that_goes_on_is_followed_point_by_point(arms: StoredArms, looking: Looking, frozen: Arm) -> None:
    arms.put_status(frozen, ArmState.RUNNING, at=NOW, queued_at=NOW - 30, started_at=NOW - 10)
    arms.put_attempts(frozen, 0, 2)
    for num_updates in (2, 4):
        arms.put_curve(frozen, 0, RISING[: num_updates // 2 + 1])
        arms.put_progress(frozen, num_updates, at=looking.now + 5, started_at=NOW - 8)
        looking.look()
        assert looking.value("training_step", RUN) == num_updates // 2

    assert looking.state(ARM) == "running"
    assert looking.value("eval_accuracy_by_step_ratio", RUN, step="2") == 0.5
    assert looking.value("run_complete", RUN) == 0
    assert looking.value("arm_attempts", ARM) == 2
    assert looking.value("arm_queued_seconds", ARM) == 20
    assert looking.value("arm_progress_ratio", ARM) == 0.5
    assert looking.value("arm_remaining_seconds", ARM) == pytest.approx(4 / (2 / 5))
    assert looking.value("arm_exit_code", ARM) is None


def test_the_wait_for_a_place_grows_while_nothing_is_written(arms: StoredArms, looking: Looking, frozen: Arm) -> None:
    arms.put_status(frozen, ArmState.QUEUED, at=NOW, queued_at=NOW)
    waited = []
    for _ in range(2):
        looking.look()
        waited.append(looking.value("arm_queued_seconds", ARM))

    assert waited == [5, 10]
    assert looking.value("arm_progress_ratio", ARM) == 0


def test_what_an_earlier_flow_run_left_is_no_progress_of_this_one(
    arms: StoredArms, looking: Looking, frozen: Arm
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW - 600)
    arms.put_status(frozen, ArmState.RUNNING, at=NOW, queued_at=NOW - 1, started_at=NOW)
    seen = []
    for num_updates, at in ((0, NOW - 600), (2, NOW + 6), (4, NOW + 8)):
        if num_updates:
            arms.put_progress(frozen, num_updates, at=at, started_at=NOW + 1)
        looking.look()
        seen.append((looking.value("arm_progress_ratio", ARM), looking.value("arm_remaining_seconds", ARM)))

    assert seen == [(0, None), (0.25, None), (0.5, 4)]


def test_the_time_left_of_an_arm_that_is_run_again_is_not_its_last_workers(
    arms: StoredArms, looking: Looking, frozen: Arm
) -> None:
    arms.put_status(frozen, ArmState.RUNNING, at=NOW, queued_at=NOW, started_at=NOW)
    for num_updates in (2, 6):
        arms.put_progress(frozen, num_updates, at=NOW + num_updates, started_at=NOW + 1)
        looking.look()
    first = looking.value("arm_remaining_seconds", ARM)
    arms.put_status(frozen, ArmState.RUNNING, at=NOW + 10, queued_at=NOW + 9, started_at=NOW + 10)
    looking.look()

    assert (first, looking.value("arm_remaining_seconds", ARM)) == (2, None)


@pytest.mark.parametrize(
    ("state", "failure", "code"),
    [
        (ArmState.REUSED, None, 0),
        (ArmState.FAILED, Failure(exit_code=43, problem="Too large.", remedy="Less."), 43),
        (ArmState.FAILED, None, 1),
        (ArmState.CANCELLED, None, None),
    ],
)
def test_every_end_is_told_with_what_there_is_of_the_curve(
    arms: StoredArms, looking: Looking, frozen: Arm, state: ArmState, failure: Failure | None, code: int | None
) -> None:
    arms.put_curve(frozen, 0, RISING[:3])
    arms.put_status(frozen, state, at=NOW, failure=failure)
    looking.look()

    assert looking.state(ARM) == state
    assert looking.value("arm_exit_code", ARM) == code
    assert looking.value("arm_progress_ratio", ARM) == (state is ArmState.REUSED)
    assert looking.value("eval_accuracy_by_step_ratio", RUN, step="2") == 0.5
    assert looking.value("training_step", {**RUN, "seed": "1"}) is None
    assert looking.value("eval_points_planned", {**RUN, "seed": "1"}) == 5


def test_a_result_without_its_curve_shows_how_the_run_ended(
    arms: StoredArms, looking: Looking, store: ResultsStore
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW)
    store.delete(run_folder("first-try", "frozen-a", 0) / "curve.jsonl")
    looking.look()

    assert looking.value("run_complete", RUN) == 1
    assert (looking.value("training_step", RUN), looking.value("eval_accuracy_ratio", RUN)) == (4, 0.75)
    assert looking.value("eval_accuracy_by_step_ratio", RUN, step="0") is None


def test_the_curve_of_another_experiment_under_the_name_goes_when_its_worker_starts(
    arms: StoredArms, looking: Looking, frozen: Arm, store: ResultsStore
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW - 600)
    training = arms.plan.training.model_copy(update={"head_lr": (0.5,)})
    other = StoredArms(store, arms.plan.model_copy(update={"training": training}))
    other.put_plan()
    other.put_status(frozen, ArmState.RUNNING, at=NOW, queued_at=NOW, started_at=NOW)
    other.put_attempts(frozen, 0, 2)
    looking.look()

    assert looking.value("eval_accuracy_by_step_ratio", RUN, step="4") is None
    assert looking.value("run_complete", RUN) == 0


def test_a_worker_that_trains_for_longer_than_a_day_stays(arms: StoredArms, looking: Looking, frozen: Arm) -> None:
    since = NOW - 2 * DAY
    arms.put_status(frozen, ArmState.RUNNING, at=since, queued_at=since, started_at=since)
    arms.put_progress(frozen, 2, at=NOW, started_at=since)
    arms.put_curve(frozen, 0, RISING[:3])
    looking.look()

    assert looking.value("training_step", RUN) == 2


def test_a_torn_or_foreign_record_is_counted_and_said_once_and_hides_no_other(
    arms: StoredArms, looking: Looking, store: ResultsStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "freeze_bench.metrics")
    arms.put_finished({"Frozen A": [RISING, RISING], "Live B": [RISING, RISING]}, at=NOW)
    curve = run_folder("first-try", "frozen-a", 0) / "curve.jsonl"
    whole = store.read(curve)
    assert whole is not None
    store.write(curve, whole[:-9])
    store.write(arm_folder("first-try", "live-b") / "status.json", b"\xff\x00")
    store.write(PurePosixPath("notes/plan.json"), b"[]")
    for _ in range(2):
        looking.look(after=SLOW_LOOK_SECONDS)

    assert looking.value("store_unreadable_records") == 3
    assert {each["arm"] for each in looking.series("arm_attempts")} == {"frozen-a"}
    assert looking.value("eval_accuracy_by_step_ratio", {**RUN, "seed": "1"}, step="4") == 0.75
    assert looking.value("training_step", RUN) == 4  # by its result
    assert sorted(str(record.args[0]) for record in caplog.records if isinstance(record.args, tuple)) == [
        f"{store.url}/first-try/runs/frozen-a/seed-0/curve.jsonl",
        f"{store.url}/first-try/runs/live-b/status.json",
        f"{store.url}/notes/plan.json",
    ]

    store.write(curve, whole)
    looking.look()
    assert looking.value("store_unreadable_records") == 2
    assert looking.value("eval_accuracy_by_step_ratio", RUN, step="4") == 0.75


@pytest.mark.parametrize(
    "rows",
    [[0, 2], [1], [0, 0], [0, 1, 2, 3, 4, 5]],
    ids=["a step is missing", "not from 0", "twice", "more than planned"],
)
def test_a_curve_with_other_steps_than_planned_is_foreign(
    arms: StoredArms, looking: Looking, frozen: Arm, store: ResultsStore, rows: list[int]
) -> None:
    lines = "".join(f'{{"step": {step}, "validation_accuracy": 0.5}}\n' for step in rows)
    store.write(run_folder("first-try", "frozen-a", 0) / "curve.jsonl", lines.encode())
    arms.put_status(frozen, ArmState.RUNNING, at=NOW)
    looking.look()

    assert looking.value("store_unreadable_records") == 1
    assert looking.value("training_step", RUN) is None
