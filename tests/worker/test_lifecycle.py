"""How a worker ends when it is told to, or when whoever started it is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from worker.contract.arms import Mode
from worker.contract.config import PARENT_PIPE_ENV, RUN_CONFIG_ENV, RunConfig
from worker.contract.curve_grid import CurveGrid
from worker.contract.store import RunRecords

MakeConfig = Callable[..., RunConfig]
StartWorker = Callable[..., subprocess.Popen[bytes]]
WaitForEvent = Callable[..., dict[str, Any]]
WaitUntil = Callable[[Callable[[], bool]], None]
REPOSITORY = Path(__file__).parents[2]
ENDLESS = {"steps": 100_000, "batch_size": 4}
PARENT = """
import subprocess, sys
with open(sys.argv[1], "wb") as log:
    worker = subprocess.Popen([sys.executable, "-m", "worker"], stdin=subprocess.PIPE, stdout=log)
print(worker.pid, flush=True)
worker.wait()
"""
"""Whoever starts a worker and holds its standard input."""


@pytest.fixture
def endless(make_config: MakeConfig) -> RunConfig:
    """A live arm that trains until it is stopped."""
    return make_config(Mode.LIVE, execution={"flush_seconds": 0, "metrics_port": 0}, **ENDLESS)


@pytest.fixture
def parent(tmp_path: Path, endless: RunConfig) -> Iterator[subprocess.Popen[str]]:
    """A process that has started a worker on a pipe; it prints the worker's process id."""
    environment = {**os.environ, RUN_CONFIG_ENV: endless.model_dump_json(), PARENT_PIPE_ENV: "1"}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "worker.log")],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def scrape(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        text: str = answer.read().decode()
    return text


def exposed_curve(text: str) -> dict[int, float]:
    return {
        int(sample.labels["step"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "freeze_bench_eval_accuracy_by_step_ratio"
    }


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_live_arm_shows_its_curve_while_it_trains_and_ends_with_143_when_it_is_told_to(
    endless: RunConfig,
    records_of: Callable[..., RunRecords],
    start_worker: StartWorker,
    events_of: Callable[..., list[dict[str, Any]]],
    wait_for_event: WaitForEvent,
    wait_until: WaitUntil,
) -> None:
    worker, records = start_worker(endless), records_of(endless)
    port = wait_for_event(event="serving")["port"]
    wait_for_event(phase="training")
    assert json.loads(scrape(port, "/healthz")) == {"status": "ok", "phase": "training"}
    wait_until(lambda: len(exposed_curve(scrape(port, "/metrics"))) > 5)
    exposed = exposed_curve(scrape(port, "/metrics"))
    wait_until(lambda: len(records.read_curve()) > max(exposed))
    curve = {point.step: point.validation_accuracy for point in records.read_curve()}
    told_at = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    seconds = time.monotonic() - told_at
    (attempt,) = records.read_attempts()

    assert list(exposed) == list(CurveGrid.of(endless.training).exposed_steps(max(exposed)))
    assert exposed == {step: curve[step] for step in exposed}
    assert worker.returncode == 143
    assert seconds < 10
    assert events_of()[-1]["problem"] == "The worker was stopped (SIGTERM)."
    assert (attempt.exit_code, attempt.problem) == (143, "The worker was stopped (SIGTERM).")
    assert attempt.ended_at is not None
    assert "training" in attempt.seconds_by_phase
    assert records.read_result() is None
    assert len(records.read_curve()) >= len(curve)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_still_starting_ends_with_143_and_a_record_too(
    endless: RunConfig,
    records_of: Callable[..., RunRecords],
    start_worker: StartWorker,
    wait_for_event: WaitForEvent,
    number: signal.Signals,
) -> None:
    worker = start_worker(endless)
    wait_for_event(phase="importing")
    worker.send_signal(number)
    worker.wait()
    (attempt,) = records_of(endless).read_attempts()

    assert (worker.returncode, attempt.exit_code) == (143, 143)
    assert attempt.problem == f"The worker was stopped ({number.name})."


def test_a_worker_that_is_killed_leaves_an_attempt_without_an_end(
    endless: RunConfig,
    records_of: Callable[..., RunRecords],
    start_worker: StartWorker,
    wait_for_event: WaitForEvent,
) -> None:
    worker = start_worker(endless)
    wait_for_event(phase="importing")
    worker.kill()
    worker.wait()
    (attempt,) = records_of(endless).read_attempts()

    assert worker.returncode == -signal.SIGKILL
    assert (attempt.ended_at, attempt.exit_code, attempt.problem) == (None, None, None)


def test_a_parent_that_is_killed_takes_its_worker_along(
    endless: RunConfig,
    parent: subprocess.Popen[str],
    records_of: Callable[..., RunRecords],
    wait_for_event: WaitForEvent,
    wait_until: WaitUntil,
) -> None:
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    wait_for_event(phase="importing")
    assert not has_ended(worker)
    killed_at = time.monotonic()
    parent.kill()
    wait_until(lambda: has_ended(worker))
    seconds = time.monotonic() - killed_at

    assert seconds < 5
    assert records_of(endless).read_result() is None
    assert records_of(endless).read_attempts()[0].exit_code in {143, None}
