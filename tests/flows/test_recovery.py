"""What a runner leaves when it goes, and what the next one makes of it. Prefect's server and the runners are real."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from prefect_processes import Prefect, PrefectServer
from waiting_flow import DELETED_FILE, GO_FILE, READY, START_FILE
from worker.contract.errors import FreezeBenchError
from worker.contract.lease import LEASE_SECONDS
from worker.contract.store import ResultsStore

ROOT = Path(__file__).parents[2]
GONE_SECONDS = 10
"""From a signal until neither the runner nor its flow runs are left."""

Find = Callable[..., list[psutil.Process]]
Wait = Callable[..., None]


class Stage:
    """A Prefect server, and one runner after another."""

    def __init__(self, folder: Path, prefect: Prefect, environment: dict[str, str], find: Find, wait: Wait) -> None:
        self.folder = folder
        self.prefect = prefect
        self.wait_until = wait
        self._find = find
        self._environment = {
            **environment,
            "PREFECT_API_URL": prefect.api_url,
            "PYTHONPATH": str(ROOT / "tests"),
            "FREEZE_BENCH_TEST_RUN": str(folder),
        }
        self._runners: list[subprocess.Popen[bytes]] = []

    def start_runner(self) -> "subprocess.Popen[bytes]":
        """Start a runner and wait until it serves."""
        log = self.folder / f"runner-{len(self._runners)}"
        with log.open("wb") as output:
            runner = subprocess.Popen(
                [sys.executable, "-m", "waiting_flow", str(self.folder)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._runners.append(runner)

        def is_ready() -> bool:
            assert runner.poll() is None, log.read_text("utf-8")
            return READY in log.read_text("utf-8")

        self.wait_until(is_ready, "the runner to serve", seconds=90)
        return runner

    def submit(self, name: str) -> str:
        """Submit a run, wait until it is at work, and return its id."""
        (deployment,) = self.prefect.post(
            "deployments/filter", {"deployments": {"name": {"any_": ["compare-backbones"]}}}
        )
        wanted = {"name": name, "parameters": {"plan": {"name": name}}, "state": {"type": "SCHEDULED"}}
        run = self.prefect.post(f"deployments/{deployment['id']}/create_flow_run", wanted)
        self.wait_until(lambda: run["id"] in self.starts(), "the flow run to begin", seconds=90)
        return str(run["id"])

    def starts(self) -> dict[str, list[str]]:
        """Return the run counts of every start, by flow run."""
        path = self.folder / START_FILE
        starts: dict[str, list[str]] = {}
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            flow_run, count = line.split()
            starts.setdefault(flow_run, []).append(count)
        return starts

    def task_states(self, flow_run: str) -> list[str]:
        """Return the states of a flow run's task runs, which the server learns of a while later."""
        tasks = self.prefect.post("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
        return sorted(each["state_name"] for each in tasks)

    def processes(self) -> list[psutil.Process]:
        """Return the runners and flow runs that are left."""
        return self._find("FREEZE_BENCH_TEST_RUN", str(self.folder))

    def clear(self) -> None:
        """End everything."""
        for each in self.processes():
            each.kill()
        for runner in self._runners:
            runner.wait()


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory, cli_environment: dict[str, str]) -> Iterator[str]:
    """A Prefect server of this module's own: elsewhere a deployment more would be in the way."""
    server = PrefectServer(tmp_path_factory.mktemp("recovery"), cli_environment)
    server.start()
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds to import

    try:
        with temporary_settings(updates={PREFECT_API_URL: server.api_url}):
            yield server.api_url
    finally:
        server.kill()


@pytest.fixture
def stage(
    tmp_path: Path, api_url: str, cli_environment: dict[str, str], find_descendants: Find, wait_until: Wait
) -> Iterator[Stage]:
    prefect = Prefect(api_url, cli_environment, ROOT)
    stage = Stage(tmp_path, prefect, cli_environment, find_descendants, wait_until)
    try:
        yield stage
    finally:
        stage.clear()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_flow_run_outlives_its_runner_and_goes_on_with_the_next(stage: Stage, number: signal.Signals) -> None:
    first = stage.start_runner()
    name = f"Left {number.name}"
    flow_run = stage.submit(name)
    stage.wait_until(lambda: stage.task_states(flow_run) == ["Running"], "the task run to be known", seconds=60)
    (before,) = stage.prefect.flow_runs(name)

    first.send_signal(number)

    assert first.wait(GONE_SECONDS) == (0 if number is signal.SIGTERM else -number)
    stage.wait_until(lambda: not stage.processes(), "the end of the flow run's process", seconds=GONE_SECONDS)
    assert stage.prefect.state(name) == "Running"

    stage.start_runner()
    stage.wait_until(lambda: stage.starts()[flow_run] == ["1", "2"], "the second start", seconds=60)
    (stage.folder / GO_FILE).touch()
    stage.wait_until(lambda: stage.prefect.state(name) == "Completed", "the end of the flow run", seconds=60)
    (after,) = stage.prefect.flow_runs(name)
    assert after["id"] == before["id"]
    assert after["created"] == before["created"]
    stage.wait_until(
        lambda: stage.task_states(flow_run) == ["Completed", "Crashed"], "both task runs' ends", seconds=60
    )
    assert not (stage.folder / DELETED_FILE).exists()


def test_what_was_being_cancelled_is_cancelled_by_the_next_runner(stage: Stage) -> None:
    first = stage.start_runner()
    flow_run = stage.submit("Half Cancelled")
    first.send_signal(signal.SIGTERM)
    first.wait(GONE_SECONDS)
    stage.prefect.post(f"flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})

    stage.start_runner()

    assert stage.prefect.state("Half Cancelled") == "Cancelled"
    assert (stage.folder / DELETED_FILE).read_text("utf-8") == "half-cancelled\n"
    assert stage.starts()[flow_run] == ["1"]


class Deployment:
    """A deployment that nobody serves, and flow runs of it in any state."""

    def __init__(self, client: Any, flow: Any, name: str) -> None:  # noqa: ANN401 - Prefect is imported late
        flow_id = client.create_flow(flow)
        self.id: UUID = client.create_deployment(flow_id=flow_id, name=name, enforce_parameter_schema=False)
        self._client = client

    def make_run(self, name: str, *states: Any) -> UUID:  # noqa: ANN401 - as above
        parameters = {"plan": {"name": name}}
        run = self._client.create_flow_run_from_deployment(self.id, name=name, parameters=parameters)
        for state in states:
            self._client.set_flow_run_state(run.id, state, force=True)
        return UUID(str(run.id))

    def state(self, flow_run: UUID) -> Any:  # noqa: ANN401 - as above
        return self._client.read_flow_run(flow_run).state


@pytest.fixture
def make_deployment(api_url: str) -> Iterator[Callable[[str], Deployment]]:
    assert api_url
    from prefect import flow  # noqa: PLC0415 - seconds to import
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    @flow(name="left-behind")
    def left_behind(plan: dict[str, Any]) -> None:
        del plan

    with get_client(sync_client=True) as client:
        yield lambda name: Deployment(client, left_behind, name)


def recover(deployment: Deployment, url: str, delete_jobs: Callable[[str], object] | None = None) -> Any:  # noqa: ANN401
    from flows.recovery import recover_flow_runs  # noqa: PLC0415 - loads Prefect

    return recover_flow_runs(deployment.id, ResultsStore(url), delete_jobs or (lambda _: None))


def test_only_what_a_runner_of_this_deployment_had_in_hand_is_taken_up(
    make_deployment: Callable[[str], Deployment], tmp_path: Path
) -> None:
    from prefect.states import (  # noqa: PLC0415 - loads Prefect
        AwaitingRetry,
        Cancelled,
        Completed,
        Crashed,
        Failed,
        Paused,
        Pending,
        Running,
        Scheduled,
    )

    ours, others = make_deployment("ours"), make_deployment("others")
    left = {state.__name__: ours.make_run(state.__name__, state()) for state in (Running, Pending)}
    alone = {
        state.__name__: ours.make_run(state.__name__, state())
        for state in (Scheduled, AwaitingRetry, Paused, Completed, Failed, Crashed, Cancelled)
    }
    foreign = others.make_run("Foreign", Running())

    recovered = recover(ours, str(tmp_path))

    assert sorted(recovered.started_again) == ["Pending", "Running"]
    assert recovered.cancelled == ()
    for flow_run in left.values():
        state = ours.state(flow_run)
        assert state.name == "AwaitingRetry"
        assert state.state_details.scheduled_time <= datetime.now(UTC)
        assert state.message == "Its runner ended; it goes on with the next one, from what is done."
    assert {name: ours.state(flow_run).name for name, flow_run in alone.items()} == {name: name for name in alone}
    assert others.state(foreign).name == "Running"


def test_on_an_object_store_a_flow_run_waits_for_the_lease_of_the_dead_process(
    make_deployment: Callable[[str], Deployment],
) -> None:
    from prefect.states import Running  # noqa: PLC0415 - loads Prefect

    deployment = make_deployment("on-objects")
    flow_run = deployment.make_run("Leased", Running())

    recover(deployment, "memory://results")

    wait = deployment.state(flow_run).state_details.scheduled_time - datetime.now(UTC)
    assert timedelta(seconds=LEASE_SECONDS - 30) < wait < timedelta(seconds=LEASE_SECONDS + 10)


def test_more_flow_runs_than_the_server_lists_at_once_are_all_taken_up(
    make_deployment: Callable[[str], Deployment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Running  # noqa: PLC0415 - loads Prefect

    from flows import flow_runs  # noqa: PLC0415

    monkeypatch.setattr(flow_runs, "_PAGE_SIZE", 2)
    deployment = make_deployment("many")
    names = [f"Run {number}" for number in range(5)]
    for name in names:
        deployment.make_run(name, Running())

    assert sorted(recover(deployment, str(tmp_path)).started_again) == names


def test_a_flow_run_stays_cancelling_while_its_jobs_cannot_be_deleted(
    make_deployment: Callable[[str], Deployment], tmp_path: Path
) -> None:
    from prefect.states import Cancelling, Running  # noqa: PLC0415 - loads Prefect

    deployment = make_deployment("stubborn")
    # Prefect cancels at once what never ran.
    flow_run = deployment.make_run("Stubborn Jobs", Running(), Cancelling())

    def refuse(comparison: str) -> None:
        raise FreezeBenchError(f"{comparison} stays.", remedy="Ask again.")

    with pytest.raises(FreezeBenchError, match="stubborn-jobs stays"):
        recover(deployment, str(tmp_path), refuse)
    assert deployment.state(flow_run).name == "Cancelling"

    recover(deployment, str(tmp_path))
    assert deployment.state(flow_run).name == "Cancelled"
