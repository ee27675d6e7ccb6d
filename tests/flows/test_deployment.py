"""The deployment: served by a real process, started by the real commands, on a real Prefect server."""

import json
import platform
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import Result

from flows.status import read_status
from free_port import free_port
from prefect_processes import Prefect, Serving
from worker.contract.errors import ConfigError
from worker.contract.plan import Plan
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore, RunRecords
from worker_processes import document_of

ROOT = Path(__file__).parents[2]
ARMS = ("live-llama", "frozen-llama", "frozen-qwen2-5")
NOWHERE = "http://127.0.0.1:9/api"
"""Nothing listens on the discard port."""

Run = subprocess.CompletedProcess[str]
Find = Callable[..., list[psutil.Process]]
Start = Callable[..., "subprocess.Popen[bytes]"]
Wait = Callable[..., None]


@pytest.fixture(scope="module")
def mark() -> str:
    """By which the served processes are found."""
    return uuid4().hex


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "results"


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def serving(  # noqa: PLR0913, PLR0917 - fixtures
    results: Path,
    metrics_port: int,
    mark: str,
    prefect_server: str,
    start_cli: Start,
    find_descendants: Find,
    wait_until: Wait,
) -> Iterator[Serving]:
    output = results.parent / "output"
    environment = {
        "PREFECT_API_URL": prefect_server,
        "FREEZE_BENCH_TEST_RUN": mark,
        "FREEZE_BENCH_METRICS_PORT": str(metrics_port),
    }
    process = start_cli("serve", "--results", results, "--workers", 2, output=output, **environment)
    serving = Serving(process, output)
    serving.wait_until_ready(wait_until)
    yield serving
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, serving.text
    # The one that Python keeps for the processes it starts ends a moment after them.
    wait_until(lambda: not find_descendants("FREEZE_BENCH_TEST_RUN", mark), "every process to end")


@pytest.fixture
def find_workers(mark: str, find_descendants: Find) -> Find:
    """Find the workers of what is served."""
    return lambda: [each for each in find_descendants("FREEZE_BENCH_TEST_RUN", mark) if document_of(each)]


@pytest.fixture(scope="module")
def prefect(prefect_server: str, cli_environment: dict[str, str]) -> Prefect:
    return Prefect(prefect_server, cli_environment, ROOT)


@pytest.fixture(scope="module")
def submitted(serving: Serving, workplace: Path, prefect_server: str, run_cli: Callable[..., Run]) -> Run:
    """The small plan has been submitted and followed to its end."""
    assert serving
    return run_cli("submit", workplace / "small.toml", "--watch", PREFECT_API_URL=prefect_server)


@pytest.fixture
def away() -> Iterator[None]:
    """Prefect's server does not answer."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds to import

    with temporary_settings(updates={PREFECT_API_URL: NOWHERE}):
        yield


def test_serve_says_what_where_and_how_to_start_a_run(serving: Serving, results: Path, prefect_server: str) -> None:
    first, *others = serving.text.splitlines()

    assert first == f"Serving compare-backbones on {prefect_server}, 1 at once."
    assert others[0] == f"Results: {results}"
    assert "freeze-bench submit PLAN" in serving.text
    assert "prefect deployment run compare-backbones" in serving.text


def test_serve_exposes_the_arms_of_what_was_submitted(
    serving: Serving, submitted: Run, metrics_port: int, wait_until: Wait
) -> None:
    address = f"http://127.0.0.1:{metrics_port}/metrics"

    def states() -> dict[str, float]:
        with urlopen(address) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        samples = [sample for family in families for sample in family.samples]
        done = [each for each in samples if each.name == "freeze_bench_arm_state" and each.labels["state"] == "done"]
        return {each.labels["arm"]: each.value for each in done}

    assert submitted.returncode == 0
    assert f"Metrics: {address}" in serving.text
    wait_until(lambda: states() == dict.fromkeys(ARMS, 1.0), "every arm to be shown as done")


@pytest.mark.usefixtures("serving")
def test_the_parameters_are_a_typed_form_with_the_demo_plan_filled_in(prefect: Prefect, results: Path) -> None:
    (deployment,) = prefect.post("deployments/filter", {})

    form: dict[str, Any] = deployment["parameter_openapi_schema"]
    assert form["properties"]["plan"]["$ref"].endswith("/Plan")
    for name in ("Plan", "DataSpec", "TrainingSettings", "RunnerSettings"):
        fields = form["definitions"][name]["properties"].values()
        assert all(field.get("description") for field in fields), name
    demo = Plan.model_validate(tomllib.loads((ROOT / "plans" / "demo.toml").read_text("utf-8")))
    assert Plan.model_validate(deployment["parameters"]["plan"]) == demo
    assert deployment["parameters"]["settings"]["results"] == str(results)
    assert deployment["enforce_parameter_schema"]
    assert deployment["tags"] == [f"host:{platform.node()}"]


def test_a_submitted_plan_is_followed_to_its_end(submitted: Run, results: Path) -> None:
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert submitted.stderr == ""
    lines = submitted.stdout.splitlines()
    assert lines[0].startswith("Submitted Small: http://")
    assert lines[1] == f"Results: {results}/small on {platform.node()}"
    for label in ("Live Llama", "Frozen Llama", "Frozen Qwen2.5"):
        assert any(line.startswith(f"{label}: done, accuracy 0.") for line in lines)
    assert "Small: Completed" in lines
    assert lines[-1] == f"Chart: {results}/small/comparison.png"


@pytest.mark.usefixtures("submitted")
def test_the_bare_name_starts_a_run_with_the_plan_that_is_given(
    prefect: Prefect, workplace: Path, results: Path
) -> None:
    plan = tomllib.loads((workplace / "small.toml").read_text("utf-8"))
    plan["data"]["source"] = str(workplace / "news.csv")
    for arm in plan["arms"]:
        arm["backbone"] = str(workplace / arm["backbone"])

    run = prefect.run("deployment", "run", "compare-backbones", "--param", f"plan={json.dumps(plan)}", "--watch")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "Flow run finished successfully in 'Completed'" in run.stdout.replace("\n", " ")
    status = read_status(ResultsStore(str(results)), "small", "live-llama")
    assert status is not None
    assert status.state is ArmState.REUSED


@pytest.fixture
def watching(
    serving: Serving, workplace: Path, results: Path, prefect: Prefect, start_cli: Start, wait_until: Wait
) -> Iterator[Serving]:
    """A submitted run that would take hours, followed by a command, with two busy workers."""
    assert serving
    store = ResultsStore(str(results))
    long = ["name=Long", "seeds=[0]", "training.steps=100000", "training.eval_every=500"]
    overrides = [word for override in long for word in ("--set", override)]
    output = results.parent / "watch"
    arguments = ("submit", workplace / "small.toml", *overrides, "--watch")
    process = start_cli(*arguments, output=output, PREFECT_API_URL=prefect.api_url)
    wait_until(
        lambda: sum(store.read(RunRecords(store, "long", arm, 0).attempts) is not None for arm in ARMS) == 2,
        "two busy workers",
        seconds=120,
    )
    yield Serving(process, output)
    process.kill()
    process.wait()


def test_a_run_that_is_no_longer_watched_goes_on_until_it_is_cancelled(
    watching: Serving,
    results: Path,
    prefect: Prefect,
    find_workers: Callable[[], list[psutil.Process]],
    wait_until: Wait,
) -> None:
    watching.process.send_signal(signal.SIGINT)

    assert watching.process.wait(30) == 130
    (flow_run,) = prefect.flow_runs("Long")
    last_line = watching.text.splitlines()[-1]
    assert last_line == f"The run goes on. To cancel it: prefect flow-run cancel {flow_run['id']}"
    assert prefect.state("Long") == "Running"
    assert len(find_workers()) == 2

    assert prefect.run(*last_line.partition(": prefect ")[2].split()).returncode == 0
    wait_until(lambda: not find_workers(), "the end of the workers", seconds=60)
    wait_until(lambda: prefect.state("Long") == "Cancelled", "the flow run's last state", seconds=30)
    for arm in ARMS:
        status = read_status(ResultsStore(str(results)), "long", arm)
        assert status is not None
        assert status.state is ArmState.CANCELLED


@pytest.mark.full
@pytest.mark.timeout(700)
@pytest.mark.usefixtures("serving")
def test_without_any_parameter_the_demo_is_run(prefect: Prefect, results: Path) -> None:
    run = prefect.run("deployment", "run", "compare-backbones", "--watch")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "Flow run finished successfully in 'Completed'" in run.stdout.replace("\n", " ")
    assert (results / "demo" / "comparison.png").stat().st_size > 0


@pytest.mark.full
@pytest.mark.usefixtures("submitted")
def test_a_plan_that_conflicts_with_the_store_ends_like_a_bad_plan(
    workplace: Path, prefect_server: str, run_cli: Callable[..., Run]
) -> None:
    other = ("--set", "training.steps=9")

    run = run_cli("submit", workplace / "small.toml", *other, "--watch", PREFECT_API_URL=prefect_server)

    assert run.returncode == 2
    assert run.stderr.startswith("The comparison 'small' exists with other conditions: training.steps is 9, was 8.")
    assert "Traceback" not in run.stdout + run.stderr


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("command", ["serve", "submit", "compare"])
def test_a_server_that_is_away_at_the_start_is_one_message(
    invoke: Callable[..., Result], workplace: Path, tmp_path: Path, command: str
) -> None:
    plan = [] if command == "serve" else [workplace / "small.toml"]
    results = [] if command == "submit" else ["--results", tmp_path / "results"]

    refused = invoke(command, *plan, *results)

    assert refused.exit_code == 1
    problem, remedy = refused.stderr.splitlines()
    assert problem == f"The Prefect server {NOWHERE} cannot be used: [Errno 111] Connection refused."
    assert remedy.startswith("Start it (`prefect server start`), or set PREFECT_API_URL")
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("command", ["serve", "submit"])
def test_a_deployment_needs_a_server_that_stays(
    invoke: Callable[..., Result], workplace: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds to import

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        refused = invoke(command, *([workplace / "small.toml"] if command == "submit" else []))

    assert refused.exit_code == 1
    assert refused.stderr.startswith("No Prefect server is configured")
    assert "prefect server start" in refused.stderr


def test_paths_of_this_machine_are_refused_by_a_deployment_on_another(make_plan: Callable[..., Plan]) -> None:
    from flows.deployment import Deployment, check_paths  # noqa: PLC0415 - loads Prefect

    elsewhere = Deployment(id=uuid4(), host="gpu-1", results=None, is_served=True)
    here = Deployment(id=uuid4(), host=platform.node(), results=None, is_served=True)
    plan = make_plan("Frozen A", "Live B", backbone="/data/base")
    data = plan.data.model_copy(update={"source": "/data/news.csv"})
    plan = plan.model_copy(update={"data": data})

    with pytest.raises(ConfigError) as caught:
        check_paths(plan, elsewhere)

    assert "data.source is /data/news.csv; arm 'Frozen A' is /data/base; arm 'Live B'" in caught.value.problem
    assert "submit the plan on gpu-1" in caught.value.remedy
    check_paths(plan, here)


@pytest.mark.parametrize(
    "source",
    [
        "/data/x.csv",
        "file:///x.csv",
        "local:///x.csv",
        "FILE:///x.csv",
        "simplecache::file:///x.csv",
        "zip://a::/x.zip",
    ],
)
def test_local_files_are_refused_however_they_are_written(make_plan: Callable[..., Plan], source: str) -> None:
    from flows.deployment import Deployment, check_paths  # noqa: PLC0415 - loads Prefect

    plan = make_plan("Frozen A", backbone="tiny:qwen3")
    plan = plan.model_copy(update={"data": plan.data.model_copy(update={"source": source})})

    with pytest.raises(ConfigError, match="which does not see the files of"):
        check_paths(plan, Deployment(id=uuid4(), host="gpu-1", results=None, is_served=True))


def test_sources_that_every_machine_can_reach_are_accepted(make_plan: Callable[..., Plan]) -> None:
    from flows.deployment import Deployment, check_paths  # noqa: PLC0415 - loads Prefect

    plan = make_plan("Frozen A", backbone="tiny:qwen3")
    elsewhere = Deployment(id=uuid4(), host="gpu-1", results=None, is_served=True)

    reachable = (
        "builtin:language-names",
        "acme/news",
        "https://example.org/news.csv",
        "simplecache::s3://bucket/a.csv",
    )
    for source in reachable:
        check_paths(plan.model_copy(update={"data": plan.data.model_copy(update={"source": source})}), elsewhere)


def test_nothing_is_submitted_where_nothing_is_deployed(
    invoke: Callable[..., Result], workplace: Path, prefect_server: str
) -> None:
    """Another server than the one that the deployment is on: a name that no flow has stands in for it."""
    assert prefect_server
    from flows import deployment  # noqa: PLC0415 - loads Prefect

    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(deployment, "FULL_NAME", "none/none")
        refused = invoke("submit", workplace / "small.toml")

    assert refused.exit_code == 1
    assert "Run `freeze-bench serve` on the machine where comparisons are to run." in refused.stderr
