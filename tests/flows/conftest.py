"""What tests of the flow side share.

First plans, runs and stores made by hand: what a worker would have left behind, without a worker. Then the real thing:
a small plan on local backbones, one run of it by the command, and a Prefect server for flows in this process.
"""

import atexit
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.comparison import ArmRun, Comparison, build_comparison
from stored_arms import PREPARED_DATA, finished_run, put_finished_run
from synthetic_news import CLASS_NAMES, synthetic_news
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import PreparedData
from worker.contract.plan import DataSpec, Plan, TrainingSettings
from worker.contract.store import ResultsStore

PlanMaker = Callable[..., Plan]
RunMaker = Callable[..., ArmRun]
ComparisonMaker = Callable[..., Comparison]


@pytest.fixture
def data() -> PreparedData:
    return PREPARED_DATA


@pytest.fixture
def make_plan() -> PlanMaker:
    """Labels that start with Live make live arms; steps follow from the curve that the runs will have."""

    def make(*labels: str, steps: int = 4, seeds: tuple[int, ...] = (0,), backbone: str = "acme/base") -> Plan:
        arms = tuple(
            Arm(
                label=label,
                backbone=BackboneSpec(source=backbone),
                mode=Mode.LIVE if label.startswith("Live") else Mode.FROZEN,
            )
            for label in labels
        )
        training = TrainingSettings(steps=steps, warmup_steps=0)
        return Plan(name="First Try", seeds=seeds, data=DataSpec(source="news.csv"), training=training, arms=arms)

    return make


@pytest.fixture
def make_run(data: PreparedData) -> RunMaker:
    """A run of the plan's arm ``label`` whose curve has one accuracy per step, from step 0."""

    def make(plan: Plan, label: str, accuracies: Sequence[float], *, seed: int = 0, device: str = "cpu") -> ArmRun:
        arm = next(arm for arm in plan.arms if arm.label == label)
        return finished_run(plan, arm, accuracies, seed=seed, data=data, device=device)

    return make


@pytest.fixture
def make_comparison(data: PreparedData, make_plan: PlanMaker, make_run: RunMaker) -> ComparisonMaker:
    """A comparison of each label's curves, one per seed; an arm without a curve is missing."""

    def make(curves_by_label: dict[str, list[list[float]]], *, backbone: str = "acme/base") -> Comparison:
        curves = [curve for curves in curves_by_label.values() for curve in curves]
        seeds = tuple(range(max(1, *map(len, curves_by_label.values()))))
        plan = make_plan(*curves_by_label, steps=max(map(len, curves), default=5) - 1, seeds=seeds, backbone=backbone)
        runs = {
            arm.slug: [make_run(plan, arm.label, curve, seed=n) for n, curve in enumerate(curves_by_label[arm.label])]
            for arm in plan.arms
        }
        return build_comparison(plan, data, runs, {})

    return make


@pytest.fixture
def put_run() -> Callable[[ResultsStore, ArmRun], None]:
    """Leave a run in a store as a worker does."""

    def put(store: ResultsStore, run: ArmRun) -> None:
        put_finished_run(store, run)

    return put


SMALL_PLAN = """
name = "Small"
seeds = [0, 1]

[data]
source = "news.csv"
train_examples = 128
validation_examples = 32
test_examples = 32

[training]
steps = 8
batch_size = 16
max_tokens = 32
warmup_steps = 2
head_lr = 0.1
backbone_lr = 1e-3

[[arms]]
label = "Live Llama"
backbone = "./backbones/llama"
mode = "live"

[[arms]]
label = "Frozen Llama"
backbone = "./backbones/llama"
mode = "frozen"

[[arms]]
label = "Frozen Qwen2.5"
backbone = "./backbones/qwen2"
mode = "frozen"
"""

CLI_SECONDS = 240
"""For one command on a machine that is busy with other things; a quiet one takes a tenth."""


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Wait for a condition, or fail and say which one did not come."""

    def wait(condition: Callable[[], object], what: str, *, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"did not come within {seconds:g} s: {what}")
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def write_news() -> Callable[..., Path]:
    """Write a CSV file of synthetic news."""

    def write(path: Path, *, seed: int = 0) -> Path:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("text", "label"))
            rows.writerows((text, CLASS_NAMES[label]) for text, label in zip(*synthetic_news(240, seed), strict=True))
        return path

    return write


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory, write_news: Callable[..., Path]) -> Path:
    """A folder with a plan, its data and its backbones: small.toml, news.csv, backbones/llama, backbones/qwen2."""
    from tiny_repositories import make_repository  # noqa: PLC0415 - loads transformers, seconds that few tests need

    folder = tmp_path_factory.mktemp("workplace")
    write_news(folder / "news.csv")
    for architecture in ("llama", "qwen2"):
        make_repository(folder / "backbones" / architecture, architecture)
    (folder / "small.toml").write_text(SMALL_PLAN, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that all real workers share, so that features are computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def cli_environment(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, str]:
    """The environment of commands: this one without its Prefect, with a mark by which descendants are found."""
    foreign = ("PREFECT_", "FREEZE_BENCH_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "FREEZE_BENCH_CACHE": str(cache),
    }


@pytest.fixture(scope="session")
def start_cli(cli_environment: dict[str, str]) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start the command as a process that leads its own session, as one typed at a terminal does."""

    def start(*arguments: object, output: Path, **environment: str) -> "subprocess.Popen[bytes]":
        command = [str(Path(sys.executable).with_name("freeze-bench")), *map(str, arguments)]
        with output.open("wb") as file:
            return subprocess.Popen(
                command,
                env=cli_environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    return start


@pytest.fixture(scope="session")
def run_cli(cli_environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the command as a process."""

    def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).with_name("freeze-bench")), *map(str, arguments)]
        return subprocess.run(
            command,
            env=cli_environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=CLI_SECONDS,
        )

    return run


@pytest.fixture
def invoke(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command in this process, where Prefect is loaded already."""
    monkeypatch.setenv("FREEZE_BENCH_CACHE", str(cache))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def find_descendants() -> Callable[..., list[psutil.Process]]:
    """Find the running processes that carry an environment variable, whoever their parent is now."""

    def carries(process: psutil.Process, name: str, value: str) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(name) == value
        except psutil.Error:  # gone meanwhile, or not ours
            return False

    def find(name: str, value: str) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if carries(process, name, value)]

    return find


@pytest.fixture(scope="session")
def first_run(
    tmp_path_factory: pytest.TempPathFactory,
    workplace: Path,
    run_cli: Callable[..., "subprocess.CompletedProcess[str]"],
) -> "subprocess.CompletedProcess[str]":
    """The command has compared the small plan; its results are in the folder ``results`` of its ``--results``."""
    results = tmp_path_factory.mktemp("first-run") / "results"
    mark = {"FREEZE_BENCH_TEST_RUN": str(results)}
    run = run_cli("compare", workplace / "small.toml", "--results", results, "--workers", 2, **mark)
    assert run.returncode == 0, run.stdout + run.stderr
    return run


@pytest.fixture(scope="session")
def finished(first_run: "subprocess.CompletedProcess[str]") -> Path:
    """The results store of the first run. Tests only look at it; those that write take a copy."""
    return Path(first_run.args[first_run.args.index("--results") + 1])


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the first run's results store, to be written into."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Prefect server; flows in this process use it, quietly, as they do in the command."""
    from flows.compare import QUIET_PREFECT  # noqa: PLC0415 - loads matplotlib
    from flows.server import PREFECT_DEFAULTS, TemporaryServer  # noqa: PLC0415

    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in (PREFECT_DEFAULTS | QUIET_PREFECT).items():
            environment.setenv(name, value)
        environment.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("server")))
        server = TemporaryServer()
        # As in the command: Prefect's threads send their last logs when the interpreter goes down.
        atexit.register(server.stop)
        from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - while the server starts

        server.wait_until_ready()
        stack.enter_context(temporary_settings(updates={PREFECT_API_URL: server.api_url}))
        yield server.api_url
