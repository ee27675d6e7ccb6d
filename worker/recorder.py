"""What a worker writes to the results store: attempts, growing curves, predictions, results."""

import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from worker.contract.config import RunConfig
from worker.contract.errors import ExitCode
from worker.contract.results import Attempt, EvalPoint, Failure, Prediction, Progress, RunResult
from worker.contract.store import PROGRESS_FILE, ResultsStore, RunRecords, arm_folder
from worker.events import log

IMAGE_ENV = "FREEZE_BENCH_IMAGE"
"""Digest of the container image, given by whoever starts the container."""


class RunRecorder:
    """Writes the records of one seed.

    The result is written last: where it is, everything else of the run is.
    """

    def __init__(self, store: ResultsStore, config: RunConfig, seed: int) -> None:
        """Put down that an attempt has started. What an older one left stays until there is something new."""
        self._records = RunRecords(store, config.comparison, config.arm.slug, seed)
        self._store = store
        self._flush_seconds = config.execution.flush_seconds
        self._flushed_at = time.monotonic()
        self._is_older_away = False
        store.write_record(self._records.config, config.model_copy(update={"seeds": (seed,)}))
        self._earlier = self._records.recover_attempts()
        self._attempt = Attempt(
            number=len(self._earlier) + 1,
            started_at=_now(),
            host=socket.gethostname(),
            fresh_since=config.execution.fresh_since,
        )
        self._write_attempts()

    def flush_curve(self, seed: int, points: Sequence[EvalPoint]) -> None:
        """Write the curve so far, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._flushed_at >= self._flush_seconds and points:
            self._take_older_away()
            self._store.write_rows(self._records.curve, points)
            self._flushed_at = now
            log.info("progress", seed=seed, step=points[-1].step, validation_accuracy=points[-1].validation_accuracy)

    def put_down_resumption(self, step: int) -> None:
        """Put down that this attempt went on from a checkpoint; of several, the first counts."""
        if self._attempt.resumed_at_step is None:
            self._attempt = self._attempt.model_copy(update={"resumed_at_step": step})
            self._write_attempts()

    def finish(self, points: Sequence[EvalPoint], predictions: Sequence[Prediction], result: RunResult) -> None:
        """Write curve and predictions, then the result that names their hashes."""
        self._take_older_away()
        self._store.write_rows(self._records.curve, points)
        self._store.write_rows(self._records.predictions, predictions)
        self._store.write_record(self._records.result, result)

    def end_attempt(self, seconds_by_phase: dict[str, float], failure: Failure | None = None) -> None:
        """Put down how the attempt ended: with a result, or with a failure. Only the first end counts."""
        if self._attempt.ended_at is not None:
            return
        self._attempt = self._attempt.model_copy(
            update={
                "ended_at": _now(),
                "exit_code": failure.exit_code if failure else ExitCode.DONE,
                "problem": failure.problem if failure else None,
                "remedy": failure.remedy if failure else None,
                "seconds_by_phase": seconds_by_phase,
            }
        )
        self._write_attempts()

    def _take_older_away(self) -> None:
        """Remove an older attempt's records, the result first: a result stands beside its own curve only."""
        if not self._is_older_away:
            for older in (self._records.result, self._records.predictions, self._records.curve):
                self._store.delete(older)
            self._is_older_away = True

    def _write_attempts(self) -> None:
        self._store.write_rows(self._records.attempts, [*self._earlier, self._attempt])


class ProgressRecorder:
    """Writes how far the whole worker is, for whoever watches."""

    def __init__(self, store: ResultsStore, config: RunConfig, num_planned: int) -> None:
        """Nothing is written yet."""
        self._store = store
        self._path = arm_folder(config.comparison, config.arm.slug) / PROGRESS_FILE
        self._flush_seconds = config.execution.flush_seconds
        self._progress = Progress(
            started_at=time.time(), updated_at=time.time(), num_updates=0, num_planned=num_planned
        )

    def announce_stop_seconds(self, seconds: float) -> None:
        """Say how long this worker may take to end when it is told to."""
        self._progress = self._progress.model_copy(update={"stop_seconds": seconds})
        self._store.write_record(self._path, self._progress)

    def flush(self, num_updates: int) -> None:
        """Write the number of updates, unless that was done a moment ago and more are to come."""
        now = time.time()
        is_last = num_updates == self._progress.num_planned
        if is_last or now - self._progress.updated_at >= self._flush_seconds:
            self._progress = self._progress.model_copy(update={"updated_at": now, "num_updates": num_updates})
            self._store.write_record(self._path, self._progress)


def image_digest() -> str | None:
    """Return the digest of the container image, if this is a container that was told."""
    return os.environ.get(IMAGE_ENV)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
