"""Ends of the command that nobody planned: Ctrl-C, SIGTERM, SIGKILL. Whatever happens, nothing runs on."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil
import pytest

from flows.status import read_status
from worker.contract.errors import ExitCode
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, Attempt
from worker.contract.store import ResultsStore, RunRecords

ARMS = ("live-llama", "frozen-llama", "frozen-qwen2-5")
TERMINATION_SECONDS = 12
"""Promised to those who are asked to end: the ten seconds of a worker and two for the executor."""
ORPHAN_SECONDS = 2
"""Promised to a machine on which the command was killed."""
MARGIN_SECONDS = 3
"""Of a machine that is busy with other things."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A command that was sent a signal while its workers were busy."""

    exit_code: int
    output: str
    seconds: float
    """From the signal until nothing was left of the command and all that it had started."""
    commands: list[list[str]]
    """What was running when the signal came, without the command itself."""
    store: ResultsStore

    def statuses(self) -> list[ArmStatus]:
        """Return the last word on every arm."""
        found = [read_status(self.store, "long", arm) for arm in ARMS]
        return [status for status in found if status is not None]

    def attempts(self) -> list[Attempt]:
        """Return every start of a worker."""
        return [attempt for arm in ARMS for attempt in RunRecords(self.store, "long", arm, 0).read_attempts()]


@pytest.fixture(scope="module")
def end_by(
    tmp_path_factory: pytest.TempPathFactory,
    workplace: Path,
    start_cli: Callable[..., "subprocess.Popen[bytes]"],
    find_descendants: Callable[..., list[psutil.Process]],
    wait_until: Callable[..., None],
) -> Callable[..., Ending]:
    """Start a long comparison, wait until two workers are busy, and send a signal to the command alone."""

    def end(number: signal.Signals, *, num_curves: int = 0, **environment: str) -> Ending:
        folder = tmp_path_factory.mktemp(number.name)
        store = ResultsStore(str(folder / "results"))
        long = ["name=Long", "seeds=[0]", "training.steps=100000", "training.eval_every=500"]
        overrides = [word for override in long for word in ("--set", override)]
        arguments = ["compare", workplace / "small.toml", *overrides, "--results", store.url, "--workers", 2]
        output = folder / "output"
        process = start_cli(*arguments, output=output, FREEZE_BENCH_TEST_RUN=str(folder), **environment)
        try:
            records = [RunRecords(store, "long", arm, 0) for arm in ARMS]

            def is_busy() -> bool:
                assert process.poll() is None, output.read_text("utf-8")
                num_begun = sum(store.read(each.attempts) is not None for each in records)
                return num_begun == 2 and sum(store.read(each.curve) is not None for each in records) >= num_curves

            wait_until(is_busy, "two busy workers", seconds=120)
            running = find_descendants("FREEZE_BENCH_TEST_RUN", str(folder))
            commands = [each.cmdline()[1:3] for each in running if each.pid != process.pid]
            sent_at = time.monotonic()
            process.send_signal(number)
            process.wait(60)
            wait_until(lambda: not find_descendants("FREEZE_BENCH_TEST_RUN", str(folder)), "the end of all children")
            seconds = time.monotonic() - sent_at
        finally:
            process.kill()
            for each in find_descendants("FREEZE_BENCH_TEST_RUN", str(folder)):
                each.kill()
        return Ending(
            exit_code=process.returncode,
            output=output.read_text("utf-8"),
            seconds=seconds,
            commands=commands,
            store=store,
        )

    return end


@pytest.fixture(scope="module")
def interrupted(end_by: Callable[..., Ending]) -> Ending:
    """Ended by Ctrl-C, after a worker had trained a while."""
    return end_by(signal.SIGINT, num_curves=1)


@pytest.fixture(scope="module")
def terminated(end_by: Callable[..., Ending], prefect_server: str) -> Ending:
    """Ended by SIGTERM, while workers were importing; with a Prefect server that is not its own."""
    return end_by(signal.SIGTERM, PREFECT_API_URL=prefect_server)


@pytest.fixture(scope="module")
def killed(end_by: Callable[..., Ending]) -> Ending:
    """Ended by SIGKILL, while workers were importing."""
    return end_by(signal.SIGKILL)


def assert_server_and_workers_were_running(ending: Ending) -> None:
    assert ending.commands.count(["-m", "worker"]) == 2
    assert ["-m", "flows.server"] in ending.commands


def test_ctrl_c_ends_the_command_with_130_and_one_message(interrupted: Ending) -> None:
    assert interrupted.exit_code == 130
    assert interrupted.output.endswith("Stopped. What is done is kept: the same command goes on from there.\n")
    assert "Traceback" not in interrupted.output


def test_ctrl_c_leaves_no_process_behind(interrupted: Ending) -> None:
    assert_server_and_workers_were_running(interrupted)
    assert interrupted.seconds < TERMINATION_SECONDS + MARGIN_SECONDS


def test_ctrl_c_cancels_every_arm(interrupted: Ending) -> None:
    assert [status.state for status in interrupted.statuses()] == [ArmState.CANCELLED] * len(ARMS)


def test_ctrl_c_lets_workers_put_down_that_they_were_stopped(interrupted: Ending) -> None:
    attempts = interrupted.attempts()

    assert [attempt.exit_code for attempt in attempts] == [ExitCode.TERMINATED] * 2
    assert {attempt.problem for attempt in attempts} == {"The worker was stopped (SIGTERM)."}


def test_sigterm_leaves_no_process_behind(terminated: Ending) -> None:
    assert terminated.commands == [["-m", "worker"]] * 2
    assert terminated.exit_code in {-signal.SIGTERM, 128 + signal.SIGTERM}
    assert terminated.seconds < TERMINATION_SECONDS + MARGIN_SECONDS


def test_sigterm_cancels_every_arm(terminated: Ending) -> None:
    assert [status.state for status in terminated.statuses()] == [ArmState.CANCELLED] * len(ARMS)


def test_sigkill_leaves_no_process_behind(killed: Ending) -> None:
    assert_server_and_workers_were_running(killed)
    assert killed.exit_code == -signal.SIGKILL
    assert killed.seconds < ORPHAN_SECONDS + MARGIN_SECONDS


def test_sigkill_leaves_a_store_that_the_same_command_can_go_on_from(killed: Ending) -> None:
    plan = killed.store.read_record(PurePosixPath("long/plan.json"), Plan)

    assert plan is not None
    assert plan.name == "Long"
    assert all(status.state is not ArmState.DONE for status in killed.statuses())
    assert len(killed.attempts()) == 2
    assert not list(Path(killed.store.url).rglob("result.json"))
