"""Workers as processes of this machine."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from flows.executors import CloseReason, ExecutorClosedError, WorkerOutcome, WorkerState
from flows.executors.places import Place, divide_machine, largest_gpu_memory
from flows.executors.turnstile import Turnstile
from flows.settings import RunnerSettings
from worker.contract.config import (
    PARENT_PIPE_ENV,
    TERMINATION_LOG_ENV,
    Execution,
    PrepareConfig,
    RunConfig,
)
from worker.contract.errors import ExitCode, FreezeBenchError
from worker.contract.results import ArmState, Failure, Progress
from worker.contract.store import PROGRESS_FILE, ResultsStore, arm_folder

TERMINATION_SECONDS = 12.0
"""From SIGTERM to SIGKILL: more than the ten seconds in which a worker ends by itself, unless it asked for more."""

_MARGIN_SECONDS = 2.0
"""Given to a worker beyond what it asked for."""


_NOT_INHERITED = ("ACCELERATE_", "FREEZE_BENCH_CONFIG", "LOCAL_RANK", "RANK", "WORLD_SIZE")
"""Variables that would tell accelerate, or the worker, something else than its document says."""


class LocalExecutor:
    """Runs each worker as a process of its own, in one of a fixed number of places.

    A worker's standard input is a pipe from this process: when this process dies, however it dies, the pipe ends and
    the worker stops. Workers lead their own sessions, so that Ctrl-C reaches them only through ``close``.

    Args:
        execution: What workers are told; the number of threads is each place's.
        places: What of the machine each worker gets.
        log_folder: Where each worker's output goes, one file per name.
        memory_limit_bytes: Memory of the largest GPU of the places, if arms are to be held to it.
    """

    workers_outlive_flow = False

    def __init__(
        self,
        execution: Execution,
        places: Sequence[Place],
        log_folder: Path,
        *,
        memory_limit_bytes: int | None = None,
    ) -> None:
        """Take over the places; nothing is started yet."""
        self.execution = execution
        self.memory_limit_bytes = memory_limit_bytes
        self._log_folder = log_folder
        self._turnstile = Turnstile(places)
        self._running: dict[subprocess.Popen[bytes], RunConfig | PrepareConfig] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def run(self, config: RunConfig | PrepareConfig, on_change: Callable[[WorkerState], None]) -> WorkerOutcome:
        """Run one worker to its end, after waiting for a place.

        Raises:
            ExecutorClosedError: ``close`` was called before or while the worker ran.
        """
        with self._turnstile.place(config) as place, tempfile.TemporaryDirectory(prefix="freeze-bench-") as folder:
            last_words = Path(folder, "termination.json")
            log_path = self._log_folder / f"{config.name}.log"
            log_path.parent.mkdir(parents=True, exist_ok=True)
            on_change(WorkerState(ArmState.RUNNING))
            execution = config.execution.model_copy(update={"num_threads": place.num_threads})
            document = Path(folder, "config.json")
            document.write_text(config.model_copy(update={"execution": execution}).model_dump_json(), encoding="utf-8")
            with log_path.open("wb") as log_file:
                process = self._start(config, document, _environment(config, place, last_words), log_file.fileno())
                exit_code = process.wait()
            if process.stdin:
                process.stdin.close()
            with self._lock:
                del self._running[process]
                if self._is_closed:
                    raise ExecutorClosedError
            return WorkerOutcome(exit_code, None if exit_code == 0 else _failure(exit_code, last_words, log_path))

    def close(self, reason: CloseReason) -> None:
        """End every worker: SIGTERM, then SIGKILL to those that are still there after the time that they asked for."""
        self._turnstile.close()
        with self._lock:
            self._is_closed = True
            running = dict(self._running)
        told_at = time.monotonic()
        for process in running:
            process.kill() if reason is CloseReason.TAKEN_OVER else process.terminate()
        for process, config in running.items():
            try:
                process.wait(max(0.0, told_at + TERMINATION_SECONDS - time.monotonic()))
            except subprocess.TimeoutExpired:
                _end_late(process, told_at + _stop_seconds(config))

    def _start(
        self, config: RunConfig | PrepareConfig, document: Path, environment: dict[str, str], log_file: int
    ) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._is_closed:
                raise ExecutorClosedError
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "worker", str(document)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running[process] = config
        return process


def _end_late(process: "subprocess.Popen[bytes]", kill_at: float) -> None:
    """Wait for a worker that takes longer than usual, and kill it at a moment of the monotonic clock."""
    try:
        process.wait(max(0.0, kill_at - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _stop_seconds(config: RunConfig | PrepareConfig) -> float:
    """Return how long a worker may take to stop: as long as it has asked for in its progress record."""
    if isinstance(config, PrepareConfig):
        return TERMINATION_SECONDS
    path = arm_folder(config.comparison, config.arm.slug) / PROGRESS_FILE
    try:
        progress = ResultsStore(config.execution.results, patience_seconds=0).read_record(path, Progress)
    except FreezeBenchError:
        return TERMINATION_SECONDS  # a store that is away has no say in it
    return max(TERMINATION_SECONDS, progress.stop_seconds + _MARGIN_SECONDS) if progress else TERMINATION_SECONDS


def _environment(config: RunConfig | PrepareConfig, place: Place, last_words: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return {
        **inherited,
        TERMINATION_LOG_ENV: str(last_words),
        PARENT_PIPE_ENV: "1",
        "CUDA_VISIBLE_DEVICES": place.gpu or "",
        "OMP_NUM_THREADS": str(place.num_threads),
        "RAYON_NUM_THREADS": str(place.num_threads),
        # Threads that spin while they wait take the cores from the worker beside them: 1.5 s became 32 s per arm.
        "OMP_WAIT_POLICY": "PASSIVE",
        # What arms need was fetched by the prepare step; an arm that asked the hub could train something else.
        **({"HF_HUB_OFFLINE": "1"} if isinstance(config, RunConfig) else {}),
    }


def open_local_executor(
    settings: RunnerSettings, comparison: str, *, fresh_since: float | None = None
) -> LocalExecutor:
    """Return an executor with as many places as the settings say, or as this machine has.

    Args:
        settings: Where results and cache are, and how many workers run at once.
        comparison: Names the folder of logs.
        fresh_since: Unix time before which results do not count; None reuses whatever is there.
    """
    cache = str(Path(settings.cache).expanduser().resolve())
    results = settings.results if "://" in settings.results else str(Path(settings.results).expanduser().resolve())
    places = divide_machine(settings.num_workers, may_use_gpus=settings.device != "cpu")
    return LocalExecutor(
        Execution(results=results, cache=cache, device=settings.device, fresh_since=fresh_since),
        places,
        Path(cache, "logs", comparison),
        memory_limit_bytes=largest_gpu_memory(places) if settings.check_memory else None,
    )


def _failure(exit_code: int, last_words: Path, log_path: Path) -> Failure:
    """Read a worker's last words; a worker that could not say any was killed."""
    try:
        return Failure.model_validate_json(last_words.read_bytes())
    except (FileNotFoundError, ValidationError):
        pass
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (often the kernel, when memory runs out)" if name == "SIGKILL" else ""
        return Failure(
            exit_code=exit_code,
            problem=f"The worker was killed by {name}{hint}.",
            remedy=f"Its log is {log_path}; with less memory at hand, run fewer workers at once.",
        )
    return Failure(
        exit_code=exit_code or ExitCode.ERROR,
        problem=f"The worker ended with exit code {exit_code} and no explanation.",
        remedy=f"Its log is {log_path}.",
    )
