"""What goes wrong in a comparison: named where people look, and never the end of what was done before.

One good run is shared; what breaks does so in copies of its store.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.comparison import Comparison
from flows.executors.local import LocalExecutor
from flows.executors.places import Place
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData, RunConfig, arm_training
from worker.contract.errors import ComparisonBusyError, ExitCode
from worker.contract.locks import only_run_of
from worker.contract.plan import DataSpec, TrainingSettings
from worker.contract.results import ArmState, ArmStatus
from worker.contract.store import ResultsStore, RunRecords

Command = Callable[..., Result]

PLAN = """
name = "Two [/b] heads"
seeds = [0]

[data]
source = "news.csv"
train_examples = 64
validation_examples = 32
test_examples = 32

[training]
steps = 4
batch_size = 16
max_tokens = 32
warmup_steps = 1
head_lr = 0.1

[[arms]]
label = "Frozen [bold]Llama"
backbone = "./backbones/llama"
mode = "frozen"

[[arms]]
label = "Frozen [/b] Qwen"
backbone = "./backbones/qwen2"
mode = "frozen"
"""
COMPARISON = "two-b-heads"
LLAMA, QWEN = "Frozen [bold]Llama", "Frozen [/b] Qwen"
SLUGS = {LLAMA: "frozen-bold-llama", QWEN: "frozen-b-qwen"}


class Bench(NamedTuple):
    """A folder with a plan and its store, and the two tries that were made: a mistaken one and a good one."""

    folder: Path
    mistaken: Result
    good: Result

    @property
    def plan(self) -> Path:
        return self.folder / "plan.toml"


@pytest.fixture(scope="module")
def command(prefect_server: str, cache: Path) -> Command:
    """Run the command in this process, where Prefect is loaded already."""
    assert prefect_server

    def run(*arguments: object, **environment: str) -> Result:
        return CliRunner().invoke(
            app, [str(argument) for argument in arguments], env={"FREEZE_BENCH_CACHE": str(cache)} | environment
        )

    return run


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, workplace: Path, command: Command) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    shutil.copy(workplace / "news.csv", folder)
    for name in ("llama", "qwen2"):
        shutil.copytree(workplace / "backbones" / name, folder / "backbones" / name)
    (folder / "plan.toml").write_text(PLAN, "utf-8")
    compare = ("compare", folder / "plan.toml", "--results", folder / "results")
    mistaken = command(*compare, "--set", "data.text_column=body")
    return Bench(folder, mistaken, command(*compare))


@pytest.fixture
def results(bench: Bench, tmp_path: Path) -> Path:
    """A copy of the store after the good try."""
    return Path(shutil.copytree(bench.folder / "results", tmp_path / "results"))


def read_comparison(results: Path) -> Comparison:
    return Comparison.model_validate_json((results / COMPARISON / "comparison.json").read_bytes())


def read_status(results: Path, label: str) -> ArmStatus:
    path = results / COMPARISON / "runs" / SLUGS[label] / "status.json"
    return ArmStatus.model_validate_json(path.read_bytes())


def records(results: Path, label: str) -> RunRecords:
    return RunRecords(ResultsStore(str(results)), COMPARISON, SLUGS[label], 0)


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_is_one_message(result: Result, exit_code: int, *said: str) -> None:
    """Check for an exit code and one explanation, each part of it once and no traceback."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    for words in said:
        assert result.stderr.count(words) == 1, result.stderr


# A mistaken first try.


def test_a_first_try_with_a_wrong_column_does_not_lock_the_name(bench: Bench) -> None:
    assert_is_one_message(bench.mistaken, 2, "has no column 'body' (data.text_column)")

    assert bench.good.exit_code == 0, bench.good.output
    comparison = read_comparison(bench.folder / "results")
    assert [arm.label for arm in comparison.arms] == [LLAMA, QWEN]
    assert comparison.missing == ()


def test_other_learning_rates_under_the_same_name_make_the_arms_again(
    bench: Bench, results: Path, command: Command
) -> None:
    again = command("compare", bench.plan, "--results", results, "--set", "training.head_lr=0.2")

    assert again.exit_code == 0, again.output
    for label in SLUGS:
        result = records(results, label).read_result()
        assert result is not None
        assert result.identity.training.head_lr == (0.2,)
        assert result.chosen.head_lr == 0.2
        assert read_status(results, label).state is ArmState.DONE
        assert len(records(results, label).read_attempts()) == 2
    assert read_comparison(results).missing == ()


def test_another_number_of_steps_under_the_same_name_is_refused(bench: Bench, results: Path, command: Command) -> None:
    before = files(results)

    refused = command("compare", bench.plan, "--results", results, "--set", "training.steps=5")

    assert_is_one_message(refused, 2, "training.steps is 5, was 4", "Give the plan another name")
    assert files(results) == before


# Arms that fail.


@pytest.fixture
def without_qwen_weights(bench: Bench, tmp_path: Path) -> Iterator[None]:
    weights = bench.folder / "backbones" / "qwen2" / "model.safetensors"
    aside = Path(shutil.move(weights, tmp_path / "aside"))
    yield
    shutil.move(aside, weights)


@pytest.mark.usefixtures("without_qwen_weights")
def test_an_arm_that_fails_when_made_again_is_named_and_its_earlier_result_is_drawn(
    bench: Bench, results: Path, command: Command
) -> None:
    before = read_comparison(results)

    failed = command("compare", bench.plan, "--results", results, "--fresh")

    why = "backbones/qwen2 holds no safetensors weights; pickle files are never loaded"
    assert_is_one_message(failed, 1, "1 of 2 arms lack results", f"{QWEN}: ", why)
    comparison = read_comparison(results)
    (gap,) = comparison.missing
    assert (gap.label, gap.is_drawn, gap.seeds) == (QWEN, True, ())
    assert why in gap.reason
    assert comparison.arms == before.arms
    assert f"{QWEN} is not up to date: an earlier result is drawn" in comparison.caption
    assert "is not up to date" not in before.caption
    assert read_status(results, QWEN).state is ArmState.FAILED
    assert read_status(results, LLAMA).state is ArmState.DONE
    assert len(records(results, LLAMA).read_attempts()) == 2


def copy_cache(cache: Path, folder: Path) -> Path:
    """Return a copy of the shared cache without its logs, for what a test breaks in it."""
    return Path(shutil.copytree(cache, folder, ignore=shutil.ignore_patterns("logs")))


def test_an_unexpected_error_in_the_task_of_an_arm_is_shown_as_its_failure(
    bench: Bench, command: Command, cache: Path, tmp_path: Path
) -> None:
    broken = copy_cache(cache, tmp_path / "cache")
    log = broken / "logs" / COMPARISON / f"{SLUGS[QWEN]}.log"
    log.mkdir(parents=True)

    failed = command("compare", bench.plan, "--results", tmp_path / "results", "--cache", broken)

    why = f"IsADirectoryError: [Errno 21] Is a directory: '{log}'"
    assert_is_one_message(failed, 1, "1 of 2 arms lack results", f"{QWEN}: {why}")
    status = read_status(tmp_path / "results", QWEN)
    assert status.state is ArmState.FAILED
    assert status.failure is not None
    assert (status.failure.exit_code, status.failure.problem) == (ExitCode.ERROR, why)
    assert [arm.label for arm in read_comparison(tmp_path / "results").arms] == [LLAMA]


def test_a_log_folder_that_cannot_be_made_is_every_arms_failure(bench: Bench, command: Command, tmp_path: Path) -> None:
    logs = tmp_path / "cache" / "logs" / COMPARISON
    logs.parent.mkdir(parents=True)
    logs.write_bytes(b"a file in the way")

    failed = command("compare", bench.plan, "--results", tmp_path / "results", "--cache", tmp_path / "cache")

    assert_is_one_message(failed, 1)
    assert str(logs) in failed.stderr
    assert "File exists" in failed.stderr
    for label in SLUGS:
        status = read_status(tmp_path / "results", label)
        assert status.state is ArmState.FAILED
        assert status.failure is not None
        assert "File exists" in status.failure.problem


# Documents of any length.


@pytest.mark.parametrize(("kind", "exit_code"), [("prepare", ExitCode.BACKBONE), ("run", ExitCode.ERROR)])
def test_a_document_too_long_for_an_environment_variable_reaches_the_worker(
    data: PreparedData, tmp_path: Path, kind: str, exit_code: ExitCode
) -> None:
    (tmp_path / "file").write_bytes(b"")
    execution = Execution(results=str(tmp_path / "file"), cache=str(tmp_path / "cache"), device="cpu")
    executor = LocalExecutor(execution, [Place(1)], tmp_path / "logs")
    many = data.model_copy(update={"classes": tuple(f"class {number} {'x' * 250}" for number in range(1000))})
    absent = BackboneSpec(source=str(tmp_path / "absent"))
    config: PrepareConfig | RunConfig
    if kind == "prepare":
        config = PrepareConfig(
            comparison="trial",
            name="prepare-absent",
            answer="absent.json",
            data=DataSpec(source="news.csv"),
            backbone=absent,
            prepared_data=many,
            execution=execution,
        )
    else:
        config = RunConfig(
            comparison="test",
            arm=Arm(backbone=absent, mode=Mode.FROZEN),
            seeds=(0,),
            data=many,
            backbone=PreparedBackbone(kind="folder", source=absent.source, revision="c" * 64, model_type="llama"),
            training=arm_training(TrainingSettings(), Mode.FROZEN),
            execution=execution,
        )
    assert len(config.model_dump_json()) > 200_000

    outcome = executor.run(config, lambda _state: None)

    assert outcome.exit_code == exit_code
    assert outcome.failure is not None
    said = {"prepare": f"There is no folder {tmp_path}/absent.", "run": "cannot be written: Not a directory."}
    assert said[kind] in outcome.failure.problem
    assert f'"kind": "{kind}"' in (tmp_path / "logs" / f"{config.name}.log").read_text("utf-8")


# Two at once.

HOLD = """
import sys
from worker.contract.locks import only_run_of
from worker.contract.store import ResultsStore
with only_run_of(ResultsStore(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that runs the same comparison until it is told to end."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "results"), COMPARISON]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


def test_a_comparison_that_another_process_runs_is_refused_until_that_ends(
    bench: Bench, command: Command, tmp_path: Path, holder: "subprocess.Popen[bytes]"
) -> None:
    store = ResultsStore(str(tmp_path / "results"))

    refused = command("compare", bench.plan, "--results", tmp_path / "results")

    assert_is_one_message(
        refused,
        1,
        f"The comparison '{COMPARISON}' in {tmp_path}/results is being run by another process.",
        "Wait for it, or give this plan another name.",
    )
    assert set(files(tmp_path / "results")) == {tmp_path / "results" / COMPARISON / ".lock"}
    with pytest.raises(ComparisonBusyError), only_run_of(store, COMPARISON):
        pass
    with only_run_of(store, "another"):
        pass

    holder.communicate()
    with only_run_of(store, COMPARISON):
        pass


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path, holder: "subprocess.Popen[bytes]") -> None:
    holder.kill()
    holder.wait()

    with only_run_of(ResultsStore(str(tmp_path / "results")), COMPARISON):
        pass


# What a person mistypes.


def test_too_many_workers_are_refused_at_once(bench: Bench, command: Command, tmp_path: Path) -> None:
    refused = command("compare", bench.plan, "--results", tmp_path / "results", "--workers", 5000)

    assert_is_one_message(refused, 2, "--workers", "less than or equal to 1024")
    assert not (tmp_path / "results").exists()


def test_a_report_of_an_unknown_file_system_is_refused(command: Command) -> None:
    assert_is_one_message(command("report", "foo://bar"), 2, "The results store 'foo://bar' cannot be opened: ")


@pytest.mark.parametrize("name", ["compare", "plan"])
def test_results_that_are_a_file_are_refused(bench: Bench, command: Command, tmp_path: Path, name: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"not a folder")

    refused = command(name, bench.plan, "--results", file)

    said = ("cannot be read: Not a directory.", str(file), "Check --results: something else lies")
    assert_is_one_message(refused, 1, *said)
    assert file.read_bytes() == b"not a folder"


def test_markup_in_names_and_labels_is_printed_as_it_is(bench: Bench, results: Path, command: Command) -> None:
    assert bench.good.stdout.startswith("Two [/b] heads: 2 arms, seeds 0\n")
    again = command("compare", bench.plan, "--results", results)
    outlook = command("plan", bench.plan, "--results", results)
    report = command("report", results)

    assert [each.exit_code for each in (again, outlook, report)] == [0, 0, 0]
    assert "Two [/b] heads" in outlook.stdout
    for label in SLUGS:
        assert f"\n{label}: done, accuracy 0." in bench.good.stdout
        for output in (bench.good.stdout, again.stdout, report.stdout):
            assert f"\n{label} " in output
        assert f"{label} " in outlook.stdout
