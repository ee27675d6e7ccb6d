"""How the flow side's metrics follow a results store: what is asked for when, what is forgotten, what is left out."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import Collector

from flows.metrics import store_reader
from flows.metrics.comparison_reader import SLOW_LOOK_SECONDS
from flows.metrics.store_reader import LOOK_SECONDS
from flows.metrics.store_text import StoreText
from s3_server import S3Server
from store_looking import ARM, DAY, NOW, RISING, RUN, Looking
from stored_arms import StoredArms
from worker.contract.arms import Arm
from worker.contract.errors import StoreError
from worker.contract.plan import Plan
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore, run_folder


class CountingStore(ResultsStore):
    """Counts what is read."""

    read_paths: list[str]

    def read(self, path: PurePosixPath) -> bytes | None:
        self.read_paths.append(str(path))
        return super().read(path)


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


def test_only_arms_with_news_of_the_last_day_are_shown(
    arms: StoredArms, looking: Looking, make_plan: Callable[..., Plan], store: ResultsStore
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW - DAY - 60)
    arms.put_finished({"Live B": [RISING, RISING]}, at=NOW - DAY + 60)
    old = StoredArms(store, make_plan("Frozen A").model_copy(update={"name": "Old"}))
    old.put_plan()
    old.put_finished({"Frozen A": [RISING]}, at=NOW - 2 * DAY)
    looking.look()
    assert {each["arm"] for each in looking.series("arm_attempts")} == {"live-b"}
    looking.look(after=120)
    assert looking.series("arm_attempts") == []

    old.put_status(old.plan.arms[0], ArmState.RUNNING, at=looking.now, queued_at=looking.now, started_at=looking.now)
    looking.look(after=SLOW_LOOK_SECONDS)
    assert [each["comparison"] for each in looking.series("arm_attempts")] == ["old"]


@pytest.mark.parametrize(("most", "names"), [(52, ["frozen-a", "frozen-c"]), (51, ["frozen-a"]), (1, ["frozen-a"])])
def test_of_too_many_samples_those_of_the_newest_arms_are_shown_and_the_other_arms_counted(
    arms: StoredArms, looking: Looking, monkeypatch: pytest.MonkeyPatch, most: int, names: list[str]
) -> None:
    monkeypatch.setattr(store_reader, "MAX_SAMPLES", most)
    plan = arms.plan.model_copy(update={"seeds": (0,)})
    frozen = plan.arms[0]
    labels = ("Frozen A", "Frozen B", "Frozen C")
    plan = plan.model_copy(update={"arms": tuple(frozen.model_copy(update={"label": label}) for label in labels)})
    stored = StoredArms(arms.store, plan)
    stored.put_plan()
    for label, age in zip(labels, (10, 30, 20), strict=True):
        stored.put_finished({label: [RISING]}, at=NOW - age)
    looking.look()

    assert [each["arm"] for each in looking.series("arm_attempts")] == names
    assert looking.value("arms_left_out") == 3 - len(names)
    num_samples = sum(("comparison", "first-try") in shown for _, shown in looking.shown)
    assert num_samples == 25 * len(names)  # an arm that runs has its time left as well, which is counted for each


def test_a_comparison_that_is_removed_is_forgotten(arms: StoredArms, looking: Looking, store: ResultsStore) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW)
    store.write(run_folder("first-try", "frozen-a", 0) / "config.json", b"{")
    looking.look()
    assert looking.value("store_unreadable_records") == 1
    for path in store.walk(PurePosixPath("first-try")):
        store.delete(path)
    local = store.local_path(PurePosixPath("first-try"))
    assert local is not None
    for folder in sorted((path for path in local.rglob("*")), reverse=True):
        folder.rmdir()
    local.rmdir()
    looking.look()

    assert looking.series("arm_attempts") == []
    assert looking.value("store_unreadable_records") == 0


def test_what_cannot_have_changed_is_not_asked_for(
    arms: StoredArms, store: ResultsStore, make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW - 600)
    arms.put_status(arms.plan.arms[1], ArmState.QUEUED, at=NOW, queued_at=NOW)
    old = StoredArms(store, make_plan("Frozen A", "Frozen B").model_copy(update={"name": "Old"}))
    old.put_plan()
    old.put_finished({"Frozen A": [RISING], "Frozen B": [RISING]}, at=NOW - 2 * DAY)
    monkeypatch.setattr(store_reader, "ResultsStore", CountingStore)
    CountingStore.read_paths = []
    looking = Looking(store)

    def asked(after: float) -> set[str]:
        CountingStore.read_paths = []
        looking.look(after)
        return set(CountingStore.read_paths)

    first = asked(0)
    assert "first-try/runs/frozen-a/seed-1/curve.jsonl" in first
    status_files = {f"old/runs/frozen-{arm}/status.json" for arm in ("a", "b")}
    assert {path for path in first if path.startswith("old/")} == {"old/plan.json", *status_files}
    assert asked(LOOK_SECONDS) == {"first-try/runs/live-b/status.json"}
    slow = [asked(SLOW_LOOK_SECONDS) for _ in range(2)]
    ours = {f"first-try/runs/{arm}/status.json" for arm in ("frozen-a", "live-b")}
    assert [paths - ours for paths in slow] == [
        {"first-try/plan.json", "old/plan.json", f"old/runs/frozen-{arm}/status.json"} for arm in ("b", "a")
    ]


def test_what_an_arm_left_that_is_no_longer_planned_is_forgotten(
    arms: StoredArms, looking: Looking, store: ResultsStore
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING], "Live B": [RISING, RISING]}, at=NOW)
    store.write(run_folder("first-try", "live-b", 0) / "attempts.jsonl", b"torn")
    looking.look()
    before = looking.value("store_unreadable_records")
    plan = arms.plan.model_copy(update={"arms": arms.plan.arms[:1]})
    StoredArms(store, plan).put_plan()
    looking.look(after=SLOW_LOOK_SECONDS)

    assert (before, looking.value("store_unreadable_records")) == (1, 0)
    assert {each["arm"] for each in looking.series("arm_attempts")} == {"frozen-a"}


def test_a_curve_is_thinned_by_the_plan_that_there_is_now(
    arms: StoredArms, looking: Looking, store: ResultsStore
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING]}, at=NOW)
    looking.look()
    training = arms.plan.training.model_copy(update={"eval_every": 2})
    StoredArms(store, arms.plan.model_copy(update={"training": training})).put_plan()
    looking.look(after=SLOW_LOOK_SECONDS)

    steps = {each["step"] for each in looking.series("eval_accuracy_by_step_ratio") if RUN.items() <= each.items()}
    assert steps == {"0", "2", "4"}


def test_arms_that_are_new_in_a_comparison_without_news_are_seen_with_the_next_slow_look(
    arms: StoredArms, looking: Looking, store: ResultsStore, make_plan: Callable[..., Plan]
) -> None:
    arms.put_finished({"Frozen A": [RISING, RISING], "Live B": [RISING, RISING]}, at=NOW - 2 * DAY)
    looking.look()
    renamed = StoredArms(store, make_plan("Frozen C", "Live D"))
    renamed.put_plan()
    renamed.put_status(renamed.plan.arms[0], ArmState.WAITING, at=looking.now)
    looking.look(after=SLOW_LOOK_SECONDS)

    assert {each["arm"] for each in looking.series("arm_attempts")} == {"frozen-c"}


def test_many_comparisons_without_news_hold_up_no_look_and_each_has_its_turn(
    arms: StoredArms, store: ResultsStore, make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    arms.put_status(arms.plan.arms[0], ArmState.QUEUED, at=NOW, queued_at=NOW)
    names = [f"Old {number}" for number in range(6)]
    for name in names:
        old = StoredArms(store, make_plan("Frozen A").model_copy(update={"name": name}))
        old.put_plan()
        old.put_status(old.plan.arms[0], ArmState.FAILED, at=NOW - 2 * DAY)
    monkeypatch.setattr(store_reader, "ResultsStore", CountingStore)
    monkeypatch.setattr(store_reader, "MAX_ASIDE", 2)
    looking = Looking(store)

    def asked(after: float = LOOK_SECONDS) -> set[str]:
        CountingStore.read_paths = []
        looking.look(after)
        return {path.partition("/")[0] for path in CountingStore.read_paths}

    behind = []
    for _ in range(4):
        asked()
        behind.append(looking.reader.is_behind)
    assert behind == [True, True, True, False]
    assert looking.value("arm_queued_seconds", ARM) == looking.now - NOW
    turns = [asked(SLOW_LOOK_SECONDS) - {"first-try"} for _ in range(3)]
    assert [len(turn) for turn in turns] == [2, 2, 2]
    assert len(set().union(*turns)) == len(names)


def test_an_arm_that_is_as_it_was_is_not_written_anew(arms: StoredArms, looking: Looking, frozen: Arm) -> None:
    encoded: list[str] = []

    def encode(collector: Collector) -> bytes:
        found = {sample.labels["arm"] for family in collector.collect() for sample in family.samples if sample.labels}
        encoded.extend(found)
        return generate_latest(collector)

    looking.text = StoreText(encode)
    arms.put_finished({"Live B": [RISING, RISING]}, at=NOW)
    arms.put_status(frozen, ArmState.QUEUED, at=NOW, queued_at=NOW)
    written = []
    for _ in range(2):
        looking.look()
        written.append(sorted(encoded))
        encoded.clear()

    assert written == [["frozen-a", "live-b"], ["frozen-a"]]  # whose wait grows
    assert looking.value("eval_accuracy_by_step_ratio", {**RUN, "arm": "live-b", "mode": "live"}, step="4") == 0.75


def test_a_store_that_is_away_is_an_error_and_the_next_look_makes_up_for_it(
    s3_server: S3Server, s3_url: str, make_plan: Callable[..., Plan]
) -> None:
    arms = StoredArms(ResultsStore(s3_url), make_plan("Frozen A"))
    arms.put_plan()
    arms.put_finished({"Frozen A": [RISING]}, at=NOW)
    looking = Looking(arms.store)
    s3_server.cut()
    try:
        with pytest.raises(StoreError):
            looking.look()
    finally:
        s3_server.mend()
    looking.look()

    assert looking.value("eval_accuracy_by_step_ratio", RUN, step="4") == 0.75
    assert looking.value("store_last_read_timestamp_seconds") == looking.now
