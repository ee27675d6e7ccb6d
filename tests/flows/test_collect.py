"""Foreign, torn and changed files in a results store: each is named, none is drawn, and none hides the others."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from flows.collect import collect_runs
from flows.comparison import ArmRun
from worker.contract.config import PreparedData
from worker.contract.plan import Plan
from worker.contract.results import EvalPoint
from worker.contract.store import ResultsStore, RunRecords, arm_folder, encode_rows

MakePlan = Callable[..., Plan]
MakeRun = Callable[..., ArmRun]
PutRun = Callable[[ResultsStore, ArmRun], None]
RISE = [0.25, 0.5, 0.75, 0.5, 0.625]


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results"))


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("Frozen A", "Live B")


@pytest.fixture
def records(store: ResultsStore, plan: Plan, make_run: MakeRun, put_run: PutRun, data: PreparedData) -> RunRecords:
    """Both arms are finished; these are the records of the first."""
    store.write_record(PurePosixPath(plan.comparison, "plan.json"), plan)
    store.write_record(PurePosixPath(plan.comparison, "prepared", "data.json"), data)
    for arm in plan.arms:
        put_run(store, make_run(plan, arm.label, RISE))
    return RunRecords(store, plan.comparison, "frozen-a", 0)


def failure_of_first_arm(store: ResultsStore, plan: Plan) -> str:
    """Collect the runs, check that the second arm is untouched, and return what is wrong with the first."""
    collected = collect_runs(store, plan, None)
    assert len(collected.runs["live-b"]) == 1
    assert set(collected.failures) == {"frozen-a"}
    assert collected.runs["frozen-a"] == ()
    return collected.failures["frozen-a"]


@pytest.mark.parametrize("order", [[0, 1, 3, 4], [0, 1, 2, 3, 3, 4], [0, 2, 1, 3, 4], [1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])
def test_a_curve_with_steps_missing_repeated_or_out_of_order_is_not_drawn(
    store: ResultsStore, plan: Plan, records: RunRecords, make_run: MakeRun, order: list[int]
) -> None:
    rows = encode_rows([EvalPoint(step=step, validation_accuracy=0.5) for step in order])
    result = make_run(plan, "Frozen A", RISE).result
    store.write(records.curve, rows)
    store.write_record(records.result, result.model_copy(update={"curve_sha256": hashlib.sha256(rows).hexdigest()}))

    assert "does not hold every step from 0 to 4, once" in failure_of_first_arm(store, plan)


CHANGES = {
    "device": ('"device": "cpu"', '"device": "gpu"'),
    "accuracy": ('"accuracy": 0.625', '"accuracy": 0.925'),
    "step": ('"step": 2', '"step": 3'),
    "seal": ('"seal": "', '"seal": "0'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_in_which_one_value_was_changed_is_not_drawn(
    store: ResultsStore, plan: Plan, records: RunRecords, change: str
) -> None:
    old, new = CHANGES[change]
    text = (store.read(records.result) or b"").decode()
    assert old in text
    store.write(records.result, text.replace(old, new, 1).encode())

    assert "the text was changed after it was sealed" in failure_of_first_arm(store, plan)


def test_a_result_from_before_there_were_seals_is_drawn(store: ResultsStore, plan: Plan, records: RunRecords) -> None:
    body, _, seal = (store.read(records.result) or b"").decode().rpartition(",\n")
    assert "seal" in seal
    store.write(records.result, f"{body}\n}}\n".encode())

    assert collect_runs(store, plan, None).failures == {}


FOREIGN = {
    "nothing": b"",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "another tool's": b'{"epoch": 3, "val_acc": 0.91}',
    "a list": b"[]",
    "not UTF-8": b'{"device": "\xff"}',
    "no number": b'{"steps": NaN}',
    "endless lists": b"[" * 100_000,
    "many zeros": bytes(2**24),
    "a newer version": b'{"schema_version": 2}',
}


@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("name", ["result.json", "curve.jsonl", "predictions.jsonl"])
def test_a_foreign_file_in_a_run_is_named_and_hides_no_other_arm(
    store: ResultsStore, plan: Plan, records: RunRecords, name: str, content: str
) -> None:
    store.write(records.result.with_name(name), FOREIGN[content])

    reason = failure_of_first_arm(store, plan)

    assert reason.startswith(f"runs/frozen-a/seed-0/{name} ")
    assert ("has schema_version 2" in reason) == (content == "a newer version" and name == "result.json")


@pytest.mark.parametrize("name", ["result.json", "curve.jsonl", "predictions.jsonl"])
def test_a_folder_in_the_place_of_a_file_is_named_and_hides_no_other_arm(
    store: ResultsStore, plan: Plan, records: RunRecords, name: str
) -> None:
    path = records.result.with_name(name)
    store.delete(path)
    Path(store.url, path).mkdir()

    assert failure_of_first_arm(store, plan) == f"runs/frozen-a/seed-0/{name} cannot be read: Is a directory."


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("place", ["runs/frozen-a", "runs/frozen-a/seed-0"])
def test_a_file_in_the_place_of_a_folder_is_named_and_hides_no_other_arm(
    store: ResultsStore, plan: Plan, place: str
) -> None:
    folder = Path(store.url, plan.comparison, place)
    shutil.rmtree(folder)
    folder.write_bytes(b"a file")

    assert "cannot be read: Not a directory." in failure_of_first_arm(store, plan)


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("name", ["status.json", "progress.json", "seed-0/config.json", "seed-0/attempts.jsonl"])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_file_that_is_no_result_hides_no_result(
    store: ResultsStore, plan: Plan, name: str, content: str
) -> None:
    store.write(arm_folder(plan.comparison, "frozen-a") / name, FOREIGN[content])

    assert collect_runs(store, plan, None).failures == {}
