"""What becomes of served comparisons when Prefect's server, its database, or the serving process goes away."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from flows.status import read_status
from prefect_processes import Prefect, PrefectServer, Serving
from worker.contract.results import ArmState, Attempt
from worker.contract.store import ResultsStore, RunRecords
from worker_processes import document_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
ARMS = ("live-llama", "frozen-llama", "frozen-qwen2-5")
ENDLESS = ("training.steps=100000", "training.eval_every=500")
HALF_A_MINUTE = ("training.steps=2500", "training.eval_every=50")
OUTAGE_SECONDS = 60
CANCEL_SECONDS = 60
"""Promised from the request to cancel until no worker is left."""

Start = Callable[..., "subprocess.Popen[bytes]"]
Find = Callable[..., list[psutil.Process]]
Wait = Callable[..., None]


class Tools(NamedTuple):
    """What every scenario is played with."""

    start_cli: Start
    find_descendants: Find
    wait_until: Wait


class Stage:
    """A Prefect server of its own, a results store, and whoever serves and submits there."""

    def __init__(self, folder: Path, plan: Path, server: PrefectServer, prefect: Prefect, tools: Tools) -> None:
        self.server = server
        self.prefect = prefect
        self.store = ResultsStore(str(folder / "results"))
        self._folder = folder
        self._plan = plan
        self._tools = tools
        self._started: list[Serving] = []

    def serve(self, *options: object) -> Serving:
        """Serve the deployment and wait until it is."""
        serving = self._start("serve", "--results", self.store.url, "--workers", 2, *options)
        serving.wait_until_ready(self._tools.wait_until)
        return serving

    def submit(self, name: str, *overrides: str) -> Serving:
        """Submit the small plan with one seed under another name, and watch it."""
        words = [word for each in (f"name={name}", "seeds=[0]", *overrides) for word in ("--set", each)]
        return self._start("submit", self._plan, *words, "--watch")

    def _start(self, *arguments: object) -> Serving:
        output = self._folder / f"output-{len(self._started)}"
        environment = {"PREFECT_API_URL": self.server.api_url, "FREEZE_BENCH_TEST_RUN": str(self._folder)}
        started = Serving(self._tools.start_cli(*arguments, output=output, **environment), output)
        self._started.append(started)
        return started

    def clear(self) -> None:
        """End everything that was started here."""
        for each in self.processes():
            each.kill()
        for started in self._started:
            started.process.wait()
        self.server.kill()

    def attempts(self, name: str) -> list[Attempt]:
        """Return every start of a worker for a comparison."""
        return [a for arm in ARMS for a in RunRecords(self.store, name, arm, 0).read_attempts()]

    def states(self, name: str) -> set[ArmState]:
        """Return the states of a comparison's arms."""
        found = [read_status(self.store, name, arm) for arm in ARMS]
        return {status.state for status in found if status is not None}

    def wait_until_busy(self, name: str, num_workers: int = 2) -> None:
        """Wait until a comparison's workers have begun."""
        self.wait_until(lambda: len(self.attempts(name)) >= num_workers, f"{num_workers} busy workers of {name}")

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = 200) -> None:
        """Wait for a condition."""
        self._tools.wait_until(condition, what, seconds=seconds)

    def processes(self) -> list[psutil.Process]:
        """Return everything that was started here and still runs."""
        return self._tools.find_descendants("FREEZE_BENCH_TEST_RUN", str(self._folder))

    def workers(self) -> list[psutil.Process]:
        """Return the workers that still run."""
        return [each for each in self.processes() if document_of(each)]


@pytest.fixture
def stage(
    tmp_path: Path,
    workplace: Path,
    cli_environment: dict[str, str],
    start_cli: Start,
    find_descendants: Find,
    wait_until: Wait,
) -> Iterator[Stage]:
    server = PrefectServer(tmp_path, cli_environment)
    server.start()
    prefect = Prefect(server.api_url, cli_environment, ROOT)
    stage = Stage(tmp_path, workplace / "small.toml", server, prefect, Tools(start_cli, find_descendants, wait_until))
    try:
        yield stage
    finally:
        stage.clear()


def assert_complete(stage: Stage, name: str, submitted: Serving) -> None:
    """Assert that a comparison is whole, in the store as on Prefect's server, and that no worker was started twice."""
    assert submitted.process.wait(600) == 0, submitted.text
    assert stage.prefect.state(name.title()) == "Completed"
    assert stage.states(name) == {ArmState.DONE}
    assert [attempt.exit_code for attempt in stage.attempts(name)] == [0, 0, 0]
    assert Path(stage.store.url, name, "comparison.png").exists()


def test_a_comparison_completes_although_the_server_is_away_for_a_minute(stage: Stage) -> None:
    """The server goes while workers are busy, and comes back after the last of them has ended."""
    stage.serve()
    submitted = stage.submit("Outage", "training.steps=200")
    stage.wait_until_busy("outage", 1)

    stage.server.kill()
    stage.wait_until(lambda: stage.states("outage") == {ArmState.DONE}, "the end of every arm")
    time.sleep(OUTAGE_SECONDS)  # an outage is a length of time
    stage.server.start()

    assert_complete(stage, "outage", submitted)
    keys = {artifact["key"] for artifact in stage.prefect.post("artifacts/filter", {})}
    assert {"outage-chart", "outage-standings"} <= keys


def test_after_an_outage_a_run_can_still_be_cancelled(stage: Stage) -> None:
    stage.serve()
    submitted = stage.submit("Outage", *ENDLESS)
    stage.wait_until_busy("outage")
    stage.server.kill()
    time.sleep(25)  # long enough for Prefect's observer to give up the events that it listens to
    stage.server.start()
    assert len(stage.workers()) == 2

    (flow_run,) = stage.prefect.flow_runs("Outage")
    assert stage.prefect.run("flow-run", "cancel", flow_run["id"]).returncode == 0

    stage.wait_until(lambda: not stage.workers(), "the end of the workers", CANCEL_SECONDS)
    assert submitted.process.wait(60) == 1
    assert "The run of Outage ended as Cancelled" in submitted.text
    assert stage.states("outage") == {ArmState.CANCELLED}


def test_a_comparison_completes_although_the_database_is_locked_for_a_while(stage: Stage) -> None:
    stage.serve()
    submitted = stage.submit("Locked", *HALF_A_MINUTE)
    stage.wait_until_busy("locked")

    with sqlite3.connect(stage.server.database, timeout=60, isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(20)  # twice as long as the server waits for it
        database.execute("ROLLBACK")

    assert_complete(stage, "locked", submitted)


def test_a_crashed_run_that_is_retried_goes_on_from_what_is_done(stage: Stage) -> None:
    """The serving process is killed outright: its flow run ends, and whoever serves next takes the retry."""
    serving = stage.serve()
    submitted = stage.submit("Retry", *HALF_A_MINUTE)
    stage.wait_until(lambda: ArmState.DONE in stage.states("retry"), "the first finished arm")
    started_at = time.monotonic()

    serving.process.kill()

    stage.wait_until(lambda: not stage.workers(), "the end of the workers", 20)
    assert time.monotonic() - started_at < 20
    assert submitted.process.wait(60) == 1
    assert "The run of Retry ended as Crashed" in submitted.text
    assert stage.states("retry") == {ArmState.DONE, ArmState.CANCELLED}
    num_attempts = len(stage.attempts("retry"))

    stage.serve()
    (flow_run,) = stage.prefect.flow_runs("Retry")
    assert stage.prefect.run("flow-run", "retry", flow_run["id"]).returncode == 0

    stage.wait_until(lambda: stage.prefect.state("Retry") == "Completed", "the end of the retried run")
    assert stage.states("retry") == {ArmState.DONE, ArmState.REUSED}
    assert len(stage.attempts("retry")) > num_attempts
    done = [arm for arm in ARMS if len(RunRecords(stage.store, "retry", arm, 0).read_attempts()) == 1]
    assert done


def test_two_comparisons_at_once_both_complete_and_the_same_one_twice_is_refused(stage: Stage) -> None:
    stage.serve("--limit", 3)
    first, second = (stage.submit(name, *HALF_A_MINUTE) for name in ("One", "Two"))
    stage.wait_until_busy("one", 1)

    again = stage.submit("One", *HALF_A_MINUTE)

    assert again.process.wait(120) == 1
    assert "The comparison 'one' in " in again.text
    assert "is being run by another process." in again.text
    assert "Traceback" not in again.text
    assert first.process.wait(300) == 0, first.text
    assert second.process.wait(300) == 0, second.text
    assert stage.states("one") == stage.states("two") == {ArmState.DONE}
    assert [attempt.exit_code for attempt in stage.attempts("one")] == [0, 0, 0]


def test_of_two_that_serve_each_takes_runs_and_none_is_run_twice(stage: Stage) -> None:
    servers = [stage.serve(), stage.serve()]
    submitted = {name: stage.submit(name, *HALF_A_MINUTE) for name in ("One", "Two")}

    for name, each in submitted.items():
        assert_complete(stage, name.lower(), each)
        (flow_run,) = stage.prefect.flow_runs(name)
        assert flow_run["run_count"] == 1
    begun = [[name for name in submitted if f"Beginning flow run '{name}'" in each.text] for each in servers]
    assert sorted(map(len, begun)) == [1, 1]


def test_ctrl_c_cancels_what_is_running_and_leaves_nothing(stage: Stage) -> None:
    """At a terminal Ctrl-C reaches the whole process group: the serving process and its flow runs."""
    serving = stage.serve()
    submitted = stage.submit("Stopped", *ENDLESS)
    stage.wait_until_busy("stopped")

    for each in psutil.Process(serving.process.pid).children():
        each.send_signal(signal.SIGINT)
    serving.process.send_signal(signal.SIGINT)

    assert serving.process.wait(CANCEL_SECONDS) == 0, serving.text
    assert serving.text.endswith("compare-backbones is no longer served here.\n")
    assert submitted.process.wait(60) == 1
    assert stage.prefect.state("Stopped") == "Cancelled"
    assert stage.states("stopped") == {ArmState.CANCELLED}
    stage.wait_until(lambda: not stage.processes(), "the end of everything", 10)


def test_a_flow_run_that_is_killed_has_crashed_and_leaves_no_worker(stage: Stage) -> None:
    serving = stage.serve()
    submitted = stage.submit("Killed", *ENDLESS)
    stage.wait_until_busy("killed")

    (flow_run,) = (
        each for each in psutil.Process(serving.process.pid).children() if "spawn_main" in " ".join(each.cmdline())
    )
    flow_run.kill()

    stage.wait_until(lambda: not stage.workers(), "the end of the workers", 10)
    assert submitted.process.wait(60) == 1
    assert "The run of Killed ended as Crashed" in submitted.text
    assert serving.process.poll() is None
