"""Workers as processes: how many at once, in which order, with what environment, and how each end is told."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from flows.executors import CloseReason, ExecutorClosedError, WorkerOutcome, WorkerState
from flows.executors.local import LocalExecutor, open_local_executor
from flows.executors.places import Place
from flows.settings import RunnerSettings
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import (
    Execution,
    PrepareConfig,
    PreparedBackbone,
    PreparedData,
    RunConfig,
    arm_training,
)
from worker.contract.errors import ExitCode
from worker.contract.plan import LANGUAGE_NAMES, DataSpec, TrainingSettings
from worker.contract.results import ArmState, Progress
from worker.contract.store import PROGRESS_FILE, ResultsStore, arm_folder
from worker_processes import document_of

Wait = Callable[..., None]
Config = RunConfig | PrepareConfig


class Workers:
    """An executor of this test, the threads that ask it, and a look at the processes it has started."""

    def __init__(self, folder: Path, num_places: int, *, num_threads: int = 1) -> None:
        """Start nothing yet."""
        self.folder = folder
        self.started: list[str] = []
        execution = Execution(results=str(folder / "results"), cache=str(folder / "cache"), device="cpu")
        self.executor = LocalExecutor(execution, [Place(num_threads)] * num_places, folder / "logs")
        self.threads = ThreadPoolExecutor(16)

    def ask(self, config: Config, on_start: Callable[[], None] = lambda: None) -> "Future[WorkerOutcome]":
        """Have a worker run in a thread."""

        def start(state: WorkerState) -> None:
            assert state.state is ArmState.RUNNING
            self.started.append(config.name)
            on_start()

        return self.threads.submit(self.executor.run, config, start)

    def running(self) -> list[psutil.Process]:
        """Return the worker processes of this folder that have begun to run our code."""
        return [child for child in psutil.Process().children() if str(self.folder) in document_of(child)]

    def prepare(self, name: str = "prepare-data", source: str = LANGUAGE_NAMES) -> PrepareConfig:
        """Return what a worker is told that makes a small data set."""
        spec = DataSpec(source=source, train_examples=8, validation_examples=8, test_examples=8)
        return PrepareConfig(
            comparison="trial", name=name, answer=f"{name}.json", data=spec, execution=self.executor.execution
        )

    def stuck(self, name: str = "stuck") -> PrepareConfig:
        """Return what a worker is told that never ends: its data file is a pipe into which nobody writes."""
        pipe = self.folder / f"{name}.csv"
        os.mkfifo(pipe)
        return self.prepare(name, str(pipe))

    def arm(self, data: PreparedData, mode: Mode) -> RunConfig:
        """Return what the worker of an arm is told; it fails at once, because its results store is a file."""
        (self.folder / "file").write_bytes(b"")
        execution = self.executor.execution.model_copy(update={"results": str(self.folder / "file")})
        return RunConfig(
            comparison="test",
            arm=Arm(label=f"{mode} arm", backbone=BackboneSpec(source="acme/base"), mode=mode),
            seeds=(0,),
            data=data,
            backbone=PreparedBackbone(kind="hub", source="acme/base", revision="c" * 40, model_type="llama"),
            training=arm_training(TrainingSettings(), mode),
            execution=execution,
        )


@pytest.fixture
def open_workers(tmp_path: Path) -> Iterator[Callable[..., Workers]]:
    opened: list[Workers] = []

    def open_them(num_places: int = 1, *, num_threads: int = 1) -> Workers:
        opened.append(Workers(tmp_path, num_places, num_threads=num_threads))
        return opened[-1]

    yield open_them
    for workers in opened:
        workers.executor.close(CloseReason.CANCELLED)
        workers.threads.shutdown()
        assert workers.running() == []


def test_a_worker_that_did_its_work_leaves_an_answer_and_a_log(open_workers: Callable[..., Workers]) -> None:
    workers = open_workers()

    outcome = workers.ask(workers.prepare()).result()

    assert outcome == WorkerOutcome(exit_code=0, failure=None)
    answer = PreparedData.model_validate_json((workers.folder / "results" / "prepare-data.json").read_bytes())
    assert answer.num_examples.train == 8
    assert '"done"' in (workers.folder / "logs" / "prepare-data.log").read_text("utf-8")


def test_a_worker_that_fails_says_why(open_workers: Callable[..., Workers]) -> None:
    workers = open_workers()

    outcome = workers.ask(workers.prepare(source=f"{workers.folder}/absent.csv")).result()

    assert outcome.failure is not None
    assert outcome.exit_code == outcome.failure.exit_code == ExitCode.DATA
    assert (
        outcome.failure.problem
        == f"The data file {workers.folder}/absent.csv cannot be read: No such file or directory."
    )
    assert outcome.failure.remedy == "Check the path."


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (signal.SIGKILL, "The worker was killed by SIGKILL (often the kernel, when memory runs out)."),
        (signal.SIGSEGV, "The worker was killed by SIGSEGV."),
    ],
)
def test_a_worker_that_is_killed_is_told_by_the_signal_and_the_log(
    open_workers: Callable[..., Workers], wait_until: Wait, number: signal.Signals, problem: str
) -> None:
    workers = open_workers()
    future = workers.ask(workers.stuck())
    wait_until(workers.running, "a running worker")

    workers.running()[0].send_signal(number)

    outcome = future.result()
    assert outcome.failure is not None
    assert outcome.exit_code == outcome.failure.exit_code == -number
    assert outcome.failure.problem == problem
    assert f"{workers.folder}/logs/stuck.log" in outcome.failure.remedy


def test_there_are_never_more_workers_than_places(open_workers: Callable[..., Workers], wait_until: Wait) -> None:
    workers = open_workers(num_places=2)
    running_before_each: list[int] = []
    configs = [workers.stuck(f"stuck-{index}") for index in range(4)]
    futures = [workers.ask(each, lambda: running_before_each.append(len(workers.running()))) for each in configs]

    for num_ended in range(3):
        wait_until(lambda: len(workers.running()) == 2, "two workers at once")
        assert len(workers.started) == num_ended + 2
        workers.running()[0].kill()
        wait_until(lambda: sum(future.done() for future in futures) == num_ended + 1, "its end")  # noqa: B023

    assert max(running_before_each) < 2
    assert sorted(workers.started) == [f"stuck-{index}" for index in range(4)]


def test_live_arms_start_before_what_others_wait_for_and_frozen_arms_last(
    open_workers: Callable[..., Workers], wait_until: Wait, data: PreparedData
) -> None:
    workers = open_workers()
    may_go = threading.Event()
    # It holds the one place until the others stand in line.
    first = workers.ask(workers.prepare("first"), lambda: wait_until(may_go.is_set, "the line"))
    wait_until(lambda: workers.started, "the first worker")
    asked: list[Config] = [workers.arm(data, Mode.FROZEN), workers.prepare("second"), workers.arm(data, Mode.LIVE)]

    futures = []
    for num_waiting, config in enumerate(asked, start=1):
        futures.append(workers.ask(config))
        waiting = workers.executor._turnstile._waiting  # noqa: SLF001 - the line is visible nowhere else
        wait_until(lambda: len(waiting) == num_waiting, "one more in line")  # noqa: B023 - waits right here
    may_go.set()

    assert first.result().failure is None
    for future in futures:
        future.result()
    assert workers.started == ["first", "live-arm", "second", "frozen-arm"]


def test_what_a_place_gives_reaches_the_worker(
    open_workers: Callable[..., Workers], wait_until: Wait, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    workers = open_workers(num_threads=3)
    seen: dict[str, dict[str, str]] = {}
    documents: list[str] = []
    for config in (workers.prepare(), workers.arm(data, Mode.FROZEN)):
        future = workers.ask(config)
        wait_until(workers.running, "a running worker")
        seen[config.name] = workers.running()[0].environ()
        documents.append(document_of(workers.running()[0]))
        future.result()

    assert [json.loads(document)["execution"]["num_threads"] for document in documents] == [3, 3]
    for environment in seen.values():
        assert environment["OMP_NUM_THREADS"] == "3"
        assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
        assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["frozen-arm"]["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in seen["prepare-data"]


def test_a_gpu_of_a_place_is_all_that_its_worker_sees(tmp_path: Path, wait_until: Wait) -> None:
    workers = Workers(tmp_path, 1)
    workers.executor = LocalExecutor(workers.executor.execution, [Place(1, gpu="GPU-8f6c")], tmp_path / "logs")
    future = workers.ask(workers.stuck())
    wait_until(workers.running, "a running worker")

    assert workers.running()[0].environ()["CUDA_VISIBLE_DEVICES"] == "GPU-8f6c"

    workers.executor.close(CloseReason.CANCELLED)
    assert isinstance(future.exception(), ExecutorClosedError)


def test_closing_ends_what_runs_and_refuses_what_waits_or_comes_later(
    open_workers: Callable[..., Workers], wait_until: Wait
) -> None:
    workers = open_workers()
    running, waiting = workers.ask(workers.stuck("running")), workers.ask(workers.stuck("waiting"))
    wait_until(workers.running, "a running worker")
    log = workers.folder / "logs" / f"{workers.started[0]}.log"
    wait_until(lambda: "started" in log.read_text("utf-8"), "its first words")
    process = workers.running()[0]

    workers.executor.close(CloseReason.CANCELLED)

    assert not process.is_running()
    for future in (running, waiting, workers.ask(workers.stuck("late"))):
        assert isinstance(future.exception(timeout=10), ExecutorClosedError)
    assert len(workers.started) == 1
    assert "The worker was stopped (SIGTERM)." in log.read_text("utf-8")
    workers.executor.close(CloseReason.CANCELLED)


def test_settings_become_absolute_paths_and_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = RunnerSettings(results="out", cache="kept", device="cpu", num_workers=3)

    executor = open_local_executor(settings, "small")

    assert open_local_executor(settings, "small", fresh_since=5.0).execution.fresh_since == 5.0
    assert executor.execution == Execution(results=f"{tmp_path}/out", cache=f"{tmp_path}/kept", device="cpu")
    remote = open_local_executor(settings.model_copy(update={"results": "s3://bucket/out"}), "small")
    assert remote.execution.results == "s3://bucket/out"


SLOW_TO_STOP = """#!/bin/sh
trap 'sleep 1.5; touch "$0.saved"; exit 143' TERM
touch "$0.ready"
while :; do sleep 0.1; done
"""
"""Stands in for a worker with a large checkpoint."""


@pytest.mark.parametrize(
    ("asked_for", "reason", "is_saved"),
    [
        (None, CloseReason.CANCELLED, False),
        (30.0, CloseReason.CANCELLED, True),
        (30.0, CloseReason.TAKEN_OVER, False),
    ],
    ids=["not asked", "asked", "asked, but taken over"],
)
def test_a_worker_that_asked_for_more_time_to_stop_is_given_it(  # noqa: PLR0913, PLR0917 - fixtures
    open_workers: Callable[..., Workers],
    wait_until: Wait,
    data: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
    asked_for: float | None,
    reason: CloseReason,
    is_saved: bool,  # noqa: FBT001 - of the parameters
) -> None:
    workers = open_workers()
    command = workers.folder / "slow"
    command.write_text(SLOW_TO_STOP, encoding="ascii")
    command.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(command))
    monkeypatch.setattr("flows.executors.local.TERMINATION_SECONDS", 0.3)
    config = workers.arm(data, Mode.LIVE).model_copy(update={"execution": workers.executor.execution})
    if asked_for:
        progress = Progress(started_at=0, updated_at=0, num_updates=0, num_planned=1, stop_seconds=asked_for)
        ResultsStore(config.execution.results).write_record(arm_folder("test", "live-arm") / PROGRESS_FILE, progress)
    future = workers.ask(config)
    wait_until((workers.folder / "slow.ready").exists, "a running worker")

    workers.executor.close(reason)

    assert (workers.folder / "slow.saved").exists() == is_saved
    assert isinstance(future.exception(timeout=10), ExecutorClosedError)
