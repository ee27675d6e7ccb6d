"""The flow in Prefect: arms that fail, an arm whose worker is killed, and what Prefect and the store say of each."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.comparison import Comparison
from flows.status import read_status
from worker.contract.errors import ExitCode
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore, RunRecords
from worker_processes import document_of

ARMS = ("Frozen Killed", "Frozen Torn", "Frozen Pickle")
LOST_WEIGHT = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def mixed_plan(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One seed of three arms: the worker of one will be killed, the backbones of two are broken."""
    from tiny_repositories import make_pickle_repository  # noqa: PLC0415 - loads transformers

    folder = tmp_path_factory.mktemp("mixed")
    shutil.copytree(workplace / "backbones" / "llama", folder / "torn")
    weights = load_file(folder / "torn" / "model.safetensors")
    del weights[LOST_WEIGHT]
    save_file(weights, folder / "torn" / "model.safetensors", {"format": "pt"})
    make_pickle_repository(folder / "pickle")
    own = {"Killed": f"{workplace}/backbones/qwen2"}
    arms = "".join(
        f'[[arms]]\nlabel = "{label}"\nbackbone = "{own.get(name, f"./{name.lower()}")}"\nmode = "frozen"\n'
        for label in ARMS
        for name in [label.removeprefix("Frozen ")]
    )
    head = (workplace / "small.toml").read_text("utf-8").partition("[[arms]]")[0]
    head = head.replace("Small", "Mixed").replace("[0, 1]", "[0]").replace("news.csv", f"{workplace}/news.csv")
    path = folder / "mixed.toml"
    path.write_text(head + arms, "utf-8")
    return path


@pytest.fixture(scope="module")
def mixed_store(tmp_path_factory: pytest.TempPathFactory) -> ResultsStore:
    return ResultsStore(str(tmp_path_factory.mktemp("mixed-results")))


@pytest.fixture(scope="module")
def mixed(
    mixed_plan: Path, mixed_store: ResultsStore, cache: Path, prefect_server: str, wait_until: Callable[..., None]
) -> Result:
    """The plan has been compared, and the first worker of ``Frozen Killed`` was killed as soon as it had begun."""
    assert prefect_server
    records = RunRecords(mixed_store, "mixed", "frozen-killed", 0)
    flow = psutil.Process()

    def find_worker() -> psutil.Process | None:
        found = (child for child in flow.children() if '"label":"Frozen Killed"' in document_of(child))
        return next(found, None)

    def kill_once() -> None:
        wait_until(lambda: mixed_store.read(records.attempts) or has_ended.is_set(), "an attempt", seconds=200)
        worker = find_worker()
        assert worker is not None
        worker.kill()

    has_ended = threading.Event()
    killer = threading.Thread(target=kill_once)
    killer.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FREEZE_BENCH_CACHE", str(cache))
        result = CliRunner().invoke(app, ["compare", str(mixed_plan), "--results", mixed_store.url, "--workers", "2"])
    has_ended.set()
    killer.join()
    return result


@pytest.fixture(scope="module")
def flow_run(mixed: Result, prefect_server: str) -> Any:  # noqa: ANN401 - Prefect is loaded when its server runs
    """The flow run as Prefect's server has it."""
    assert mixed
    assert prefect_server
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["Mixed"])))
    return run


def reason(store: ResultsStore, label: str) -> str:
    comparison = store.read_record(PurePosixPath("mixed/comparison.json"), Comparison)
    assert comparison is not None
    return next(gap.reason for gap in comparison.missing if gap.label == label)


def state(store: ResultsStore, arm: str) -> ArmState:
    status = read_status(store, "mixed", arm)
    assert status is not None
    return status.state


def test_failed_arms_make_the_command_fail_and_are_named_in_one_message(mixed: Result) -> None:
    assert mixed.exit_code == 1
    assert mixed.stderr.startswith("2 of 3 arms lack results. ")
    for label in ("Frozen Torn", "Frozen Pickle"):
        assert mixed.stderr.count(f"{label}: ") == 1
    assert mixed.stderr.count("Use a complete checkpoint of this architecture.") == 1
    assert mixed.stderr.endswith(" Then run the same command again: what is done is kept.\n")
    assert "Traceback" not in mixed.output


def test_failed_arms_are_said_at_once_where_there_is_no_terminal(mixed: Result) -> None:
    assert "Frozen Killed: done" in mixed.stdout
    assert "Frozen Torn: failed: " in mixed.stdout


def test_the_standings_of_the_others_are_printed_all_the_same(mixed: Result, mixed_store: ResultsStore) -> None:
    lines = mixed.stdout.splitlines()

    assert lines[-4].startswith("Frozen Killed  frozen  0.")
    assert lines[-3].split() == ["Frozen", "Torn", "frozen", *["-"] * 6]
    assert lines[-1] == f"Chart: {mixed_store.url}/mixed/comparison.png"


def test_failed_arms_do_not_hide_the_others(mixed: Result, mixed_store: ResultsStore) -> None:
    assert mixed.exit_code == 1
    comparison = mixed_store.read_record(PurePosixPath("mixed/comparison.json"), Comparison)

    assert comparison is not None
    assert [arm.label for arm in comparison.arms] == ["Frozen Killed"]
    assert [gap.label for gap in comparison.missing] == ["Frozen Torn", "Frozen Pickle"]
    assert (mixed_store.read(PurePosixPath("mixed/comparison.png")) or b"").startswith(b"\x89PNG")
    svg = (mixed_store.read(PurePosixPath("mixed/comparison.svg")) or b"").decode()
    assert all(label in svg for label in ARMS)


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ("frozen-torn", f"lacks 1 weights, among them {LOST_WEIGHT.removeprefix('model.')}: they would be random."),
        ("frozen-pickle", "holds no safetensors weights; pickle files are never loaded."),
    ],
)
def test_a_broken_backbone_is_explained_in_status_and_chart(mixed_store: ResultsStore, arm: str, words: str) -> None:
    status = read_status(mixed_store, "mixed", arm)

    assert status is not None
    assert status.state is ArmState.FAILED
    assert status.failure is not None
    assert status.failure.exit_code == ExitCode.BACKBONE
    assert words in status.failure.problem
    assert status.failure.remedy
    assert reason(mixed_store, arm.replace("-", " ").title()) == status.failure.problem


@pytest.mark.usefixtures("mixed")
def test_what_will_fail_again_is_not_tried_again(mixed_store: ResultsStore) -> None:
    attempts = RunRecords(mixed_store, "mixed", "frozen-torn", 0).read_attempts()

    assert [attempt.exit_code for attempt in attempts] == [ExitCode.BACKBONE]


@pytest.mark.usefixtures("mixed")
def test_a_killed_worker_is_started_once_more(mixed_store: ResultsStore) -> None:
    attempts = RunRecords(mixed_store, "mixed", "frozen-killed", 0).read_attempts()

    assert [(attempt.number, attempt.exit_code) for attempt in attempts] == [(1, None), (2, 0)]
    assert state(mixed_store, "frozen-killed") is ArmState.DONE
    status = read_status(mixed_store, "mixed", "frozen-killed")
    assert status is not None
    assert status.failure is None


def test_prefect_shows_the_flow_as_failed_with_its_message(flow_run: Any, mixed_store: ResultsStore) -> None:  # noqa: ANN401
    assert flow_run.state.name == "Failed"
    assert "2 of 3 arms lack results" in flow_run.state.message
    for arm in ("frozen-killed", "frozen-pickle"):
        status = read_status(mixed_store, "mixed", arm)
        assert status is not None
        assert status.flow_run == str(flow_run.id)


def test_prefect_shows_every_task_by_name_and_state(flow_run: Any, wait_until: Callable[..., None]) -> None:  # noqa: ANN401
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - as in the fixture
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: PLC0415

    found: dict[str, tuple[str, int]] = {}

    def has_read_all() -> bool:  # the server learns of task runs through events, a moment after they happened
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])))
        found.update({Path(run.name).name: (str(run.state and run.state.name), run.run_count) for run in runs})
        return len(runs) == 8 and {name for name, _ in found.values()} <= {"Completed", "Failed", "NotReady"}

    wait_until(has_read_all, "the end of all tasks")
    by_name = {name.rpartition("-")[0] or name: state for name, state in found.items()}
    assert by_name == {
        "prepare-data": ("Completed", 1),
        "qwen2": ("Completed", 1),
        "torn": ("Completed", 1),
        "pickle": ("Failed", 1),
        "Frozen Killed": ("Completed", 2),
        "Frozen Torn": ("Failed", 1),
        "run-arm": ("NotReady", 0),  # its backbone could not be prepared; Prefect names only what starts
        "draw-comparison": ("Completed", 1),
    }


def test_the_runs_artifacts_can_be_read_back(flow_run: Any) -> None:  # noqa: ANN401
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - as in the fixture
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])))

    artifacts = {artifact.key: artifact for artifact in found if artifact.key}  # tasks' results have none
    assert {key: artifact.type for key, artifact in artifacts.items()} == {
        "mixed-standings": "table",
        "mixed-chart": "markdown",
    }
    assert "![Accuracy against step](data:image/png;base64,iVBOR" in str(artifacts["mixed-chart"].data)


def test_the_same_command_again_tries_only_what_failed(
    mixed: Result, mixed_plan: Path, mixed_store: ResultsStore, invoke: Callable[..., Result], tmp_path: Path
) -> None:
    assert mixed.exit_code == 1
    results = shutil.copytree(mixed_store.url, tmp_path / "results")
    text = mixed_plan.read_text("utf-8")
    torn = '[[arms]]\nlabel = "Frozen Torn"\nbackbone = "./torn"\nmode = "frozen"\n'
    assert torn in text
    shorter = mixed_plan.with_name("shorter.toml")
    shorter.write_text(text.replace(torn, ""), "utf-8")

    again = invoke("compare", shorter, "--results", results)

    assert again.exit_code == 1
    assert again.stderr.startswith("1 of 2 arms lack results. Frozen Pickle: ")
    assert "Frozen Killed: reused" in again.stdout
    assert len(RunRecords(ResultsStore(str(results)), "mixed", "frozen-killed", 0).read_attempts()) == 2
