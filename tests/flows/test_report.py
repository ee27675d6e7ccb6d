"""What a report draws of a results store, and what it refuses to draw."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import fsspec
import pytest

from flows.collect import collect_runs
from flows.comparison import ArmRun, Comparison
from flows.report import find_comparisons, redraw, write_report
from flows.standings import STANDINGS_COLUMNS, standings_markdown, standings_rows
from worker.contract.config import Execution, PreparedData, RunConfig
from worker.contract.errors import ArmsFailedError, ResultError
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, Failure
from worker.contract.store import ResultsStore, RunRecords, arm_folder

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


@pytest.fixture
def memory_url() -> Iterator[str]:
    """A store that is no folder."""
    yield "memory://bucket/results"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def reason_of_first_arm(store: ResultsStore, plan: Plan) -> str:
    """Write the report, check that the second arm is untouched, and return why the first is missing."""
    comparison = write_report(store, plan)
    assert [arm.label for arm in comparison.arms] == ["Live B"]
    (gap,) = comparison.missing
    return gap.reason


@pytest.mark.usefixtures("records")
def test_a_report_puts_chart_and_numbers_beside_the_runs(store: ResultsStore, plan: Plan) -> None:
    comparison = write_report(store, plan)

    assert [arm.end for arm in comparison.arms] == [RISE[-1], RISE[-1]]
    assert comparison.missing == ()
    assert comparison.data.classes == ("Danish", "Finnish", "Polish", "Turkish")
    assert {"comparison.json", "comparison.png", "comparison.svg"} <= set(store.names(PurePosixPath("first-try")))
    assert store.read_record(PurePosixPath("first-try/comparison.json"), Comparison) == comparison


@pytest.mark.usefixtures("records")
def test_a_report_made_again_is_the_same_to_the_byte(store: ResultsStore, plan: Plan) -> None:
    paths = [PurePosixPath("first-try", f"comparison.{form}") for form in ("json", "png", "svg")]
    write_report(store, plan)
    before = [store.read(path) for path in paths]

    write_report(store, plan)

    assert [store.read(path) for path in paths] == before


def test_a_changed_curve_is_not_drawn(store: ResultsStore, plan: Plan, records: RunRecords) -> None:
    store.write(records.curve, (store.read(records.curve) or b"").replace(b"0.75", b"0.95"))

    expected = "runs/frozen-a/seed-0/curve.jsonl is not what its result.json was made of."
    assert reason_of_first_arm(store, plan) == expected


def test_changed_predictions_are_not_trusted(store: ResultsStore, plan: Plan, records: RunRecords) -> None:
    store.write(records.predictions, b"")

    assert "predictions.jsonl is not what" in reason_of_first_arm(store, plan)


def test_a_curve_that_is_gone_is_named(store: ResultsStore, plan: Plan, records: RunRecords) -> None:
    store.delete(records.curve)

    assert reason_of_first_arm(store, plan) == "runs/frozen-a/seed-0/curve.jsonl is not there."


@pytest.mark.parametrize("cut", [10, -20])
def test_a_torn_result_is_named_without_the_machines_paths(
    store: ResultsStore, plan: Plan, records: RunRecords, cut: int
) -> None:
    store.write(records.result, (store.read(records.result) or b"")[:cut])

    reason = reason_of_first_arm(store, plan)

    assert reason.startswith("runs/frozen-a/seed-0/result.json is not a RunResult")
    assert store.url not in reason


def test_a_curve_that_was_never_whole_is_not_drawn(
    store: ResultsStore, plan: Plan, records: RunRecords, make_run: MakeRun
) -> None:
    run = make_run(plan, "Frozen A", RISE[:3])
    store.write_rows(records.curve, run.curve)
    store.write_record(records.result, run.result)

    said = "curve.jsonl does not hold every step from 0 to 4, once, in order and scored."
    assert reason_of_first_arm(store, plan) == f"runs/frozen-a/seed-0/{said}"


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("name", ["plan.json", "prepared/data.json"])
@pytest.mark.parametrize("content", [b"\x89PNG", b'{"epoch": 3}', b"[]", b'{"name": "\xff"}', b"[" * 100_000])
def test_a_comparison_that_cannot_be_read_is_named_and_hides_no_other(
    store: ResultsStore, plan: Plan, name: str, content: bytes
) -> None:
    healthy = plan.model_copy(update={"name": "Second"})
    store.write_record(PurePosixPath("second/plan.json"), healthy)
    store.write(PurePosixPath("first-try", name), content)
    drawn: list[str] = []

    with pytest.raises(ArmsFailedError) as error:
        redraw(store.url, lambda _store, comparison: drawn.append(comparison.name))

    assert drawn == ["Second"]
    assert f"first-try/{name} " in error.value.problem
    with pytest.raises(ResultError, match=re.escape(f"first-try/{name} ")):
        redraw(f"{store.url}/first-try", lambda _store, comparison: drawn.append(comparison.name))


def test_a_curve_of_strange_rows_is_not_drawn(
    store: ResultsStore, plan: Plan, records: RunRecords, make_run: MakeRun
) -> None:
    rows = b"{}\n"
    result = make_run(plan, "Frozen A", RISE).result
    store.write(records.curve, rows)
    store.write_record(records.result, result.model_copy(update={"curve_sha256": hashlib.sha256(rows).hexdigest()}))

    assert reason_of_first_arm(store, plan).endswith("curve.jsonl is not a curve.")


@pytest.mark.usefixtures("records")
def test_results_on_other_data_are_not_drawn(store: ResultsStore, plan: Plan, data: PreparedData) -> None:
    other = data.model_copy(update={"digest": "e" * 64})

    collected = collect_runs(store, plan, other)

    assert collected.failures == dict.fromkeys(["frozen-a", "live-b"], "result of another experiment")
    assert collected.runs == {"frozen-a": (), "live-b": ()}
    assert collect_runs(store, plan, None).failures == {}


@pytest.mark.parametrize("change", ["training", "backbone", "mode", "seed", "address"])
def test_a_result_of_another_experiment_is_not_drawn(
    store: ResultsStore, plan: Plan, records: RunRecords, make_run: MakeRun, change: str
) -> None:
    result = make_run(plan, "Frozen A", RISE).result
    identity = result.identity
    if change == "training":
        identity = identity.model_copy(update={"training": identity.training.model_copy(update={"batch_size": 7})})
    elif change == "backbone":
        result = result.model_copy(update={"backbone": result.backbone.model_copy(update={"source": "acme/other"})})
    elif change == "mode":
        identity = make_run(plan, "Live B", RISE).result.identity
    elif change == "seed":
        identity = identity.model_copy(update={"seed": 3})
    address = "f" * 64 if change == "address" else identity.address
    store.write_record(records.result, result.model_copy(update={"identity": identity, "address": address}))

    assert reason_of_first_arm(store, plan) == "result of another experiment"


@pytest.mark.parametrize(("revision", "is_drawn"), [("c" * 40, True), ("9" * 40, False)])
def test_a_result_older_than_the_runs_last_config_is_not_drawn(
    store: ResultsStore, plan: Plan, records: RunRecords, data: PreparedData, revision: str, *, is_drawn: bool
) -> None:
    run = collect_runs(store, plan, data).runs["frozen-a"][0].result
    config = RunConfig(
        comparison=plan.comparison,
        arm=run.arm,
        seeds=(0,),
        data=data,
        backbone=run.backbone.model_copy(update={"revision": revision}),
        training=run.identity.training,
        execution=Execution(results="r", cache="c"),
    )
    store.write_record(records.config, config)

    assert bool(collect_runs(store, plan, data).runs["frozen-a"]) == is_drawn


def test_a_config_that_cannot_be_read_hides_no_result(store: ResultsStore, plan: Plan, records: RunRecords) -> None:
    store.write(records.config, b"{")

    assert write_report(store, plan).missing == ()


@pytest.mark.parametrize(
    ("state", "failure", "reason"),
    [
        (ArmState.FAILED, Failure(exit_code=43, problem="Out of memory.", remedy="Lower it."), "Out of memory."),
        (ArmState.RUNNING, None, "no result, last seen running"),
        (ArmState.CANCELLED, None, "no result, last seen cancelled"),
        (ArmState.DONE, None, "no result"),
    ],
)
def test_an_arm_without_a_result_is_explained_by_its_status(
    store: ResultsStore, plan: Plan, records: RunRecords, state: ArmState, failure: Failure | None, reason: str
) -> None:
    store.delete(records.result)
    status = ArmStatus(state=state, flow_run="f", seeds=(0,), updated_at=0.0, failure=failure)
    store.write_record(arm_folder(plan.comparison, "frozen-a") / "status.json", status)

    assert reason_of_first_arm(store, plan) == reason


@pytest.mark.parametrize("status", [None, b"{"])
def test_an_arm_without_result_and_status_has_no_result(
    store: ResultsStore, plan: Plan, records: RunRecords, status: bytes | None
) -> None:
    store.delete(records.result)
    if status is not None:
        store.write(arm_folder(plan.comparison, "frozen-a") / "status.json", status)

    assert reason_of_first_arm(store, plan) == "no result"


def test_each_lost_seed_has_its_own_reason(
    store: ResultsStore, make_plan: MakePlan, make_run: MakeRun, put_run: PutRun
) -> None:
    plan = make_plan("Frozen A", seeds=(0, 1, 2))
    for seed in (0, 1):
        put_run(store, make_run(plan, "Frozen A", RISE, seed=seed))
    store.write(RunRecords(store, plan.comparison, "frozen-a", 1).curve, b"")

    comparison = write_report(store, plan)

    assert comparison.arms[0].seeds == (0,)
    assert comparison.missing[0].reason == (
        "seeds 1, 2: runs/frozen-a/seed-1/curve.jsonl is not what its result.json was made of (seed 1); "
        "no result (seed 2)"
    )


def test_a_plan_without_any_run_is_reported_as_all_missing(store: ResultsStore, plan: Plan) -> None:
    comparison = write_report(store, plan)

    assert comparison.arms == ()
    assert [gap.reason for gap in comparison.missing] == ["no result", "no result"]
    assert comparison.data.source == "news.csv"


@pytest.mark.usefixtures("records")
def test_comparisons_are_found_from_the_store_and_from_their_own_folder(store: ResultsStore, plan: Plan) -> None:
    Path(store.url, "notes.txt").write_text("a file among the folders")
    Path(store.url, "cache").mkdir()

    (from_store,) = find_comparisons(store.url)
    (from_folder,) = find_comparisons(f"{store.url}/first-try/")

    assert from_store.plan == from_folder.plan == plan
    assert write_report(from_folder.store, from_folder.plan) == write_report(from_store.store, from_store.plan)


@pytest.mark.usefixtures("records")
def test_a_comparison_that_is_a_link_is_found(store: ResultsStore, plan: Plan, tmp_path: Path) -> None:
    folder = Path(store.url, plan.comparison)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / plan.comparison).symlink_to(folder)

    (found,) = find_comparisons(str(linked))

    assert found.plan == plan


def test_comparisons_are_found_in_an_object_store(memory_url: str, plan: Plan) -> None:
    store = ResultsStore(memory_url)
    for name in ("Second", "First"):
        named = plan.model_copy(update={"name": name})
        store.write_record(PurePosixPath(named.comparison, "plan.json"), named)

    assert [found.plan.name for found in find_comparisons(memory_url)] == ["First", "Second"]
    (found,) = find_comparisons(f"{memory_url}/second")
    assert found.plan.name == "Second"
    write_report(found.store, found.plan)
    assert "comparison.png" in store.names(PurePosixPath("second"))


def test_an_empty_place_holds_no_comparison(tmp_path: Path) -> None:
    assert find_comparisons(str(tmp_path)) == []
    assert find_comparisons(str(tmp_path / "nowhere")) == []


@pytest.mark.usefixtures("records")
def test_a_renamed_folder_is_refused_with_the_remedy(store: ResultsStore) -> None:
    Path(store.url, "first-try").rename(Path(store.url, "copy"))

    with pytest.raises(ResultError, match=r"copy/plan\.json is not the plan of a comparison named 'copy'"):
        find_comparisons(store.url)


def test_standings_have_three_decimals_and_plan_order(make_comparison: Callable[..., Comparison]) -> None:
    rows = standings_rows(make_comparison({"Frozen A": [RISE], "Live B": [[0.5] * 41], "Frozen C": []}))

    assert rows == [
        ("Frozen A", "frozen", "0.250", "-", "0.750 (2)", "0.625", "0.500", "0.625"),
        ("Live B", "live", "0.500", "0.500", "0.500 (0)", "0.500", "0.500", "0.625"),
        ("Frozen C", "frozen", "-", "-", "-", "-", "-", "-"),
    ]
    assert {len(row) for row in rows} == {len(STANDINGS_COLUMNS)}


def test_standings_in_markdown_name_the_missing_arms(make_comparison: Callable[..., Comparison]) -> None:
    text = standings_markdown(make_comparison({"Frozen A|B": [RISE], "Live B": []}))

    assert text == (
        "| Arm | Mode | Start | Step 40 | Peak (step) | End | Test last | Test best |\n"
        "| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| Frozen A\\|B | frozen | 0.250 | - | 0.750 (2) | 0.625 | 0.500 | 0.625 |\n"
        "| Live B | live | - | - | - | - | - | - |\n"
        "\n"
        "- Missing: Live B: no result\n"
    )
