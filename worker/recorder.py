"""What a worker writes to the results store: attempts, growing curves, predictions, results."""

import os
import socket
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from worker.contract.config import RunConfig
from worker.contract.results import Attempt, EvalPoint, Failure, Prediction, RunResult
from worker.contract.store import ResultsStore, RunRecords
from worker.events import log

IMAGE_ENV = "FREEZE_BENCH_IMAGE"
"""Digest of the container image, given by whoever starts the container."""


class RunRecorder:
    """Writes the records of one seed.

    The result is written last: where it is, everything else of the run is.
    """

    def __init__(self, store: ResultsStore, config: RunConfig, seed: int) -> None:
        """Take away what an older attempt left, the result first, and put down that this one has started."""
        self._records = RunRecords(store, config.comparison, config.arm.slug, seed)
        self._store = store
        self._flush_seconds = config.execution.flush_seconds
        self._flushed_at = time.monotonic()
        self.is_finished = False
        for older in (self._records.result, self._records.curve, self._records.predictions):
            store.delete(older)
        store.write_record(self._records.config, config.model_copy(update={"seeds": (seed,)}))
        self._earlier = self._records.read_attempts()
        self._attempt = Attempt(number=len(self._earlier) + 1, started_at=_now(), host=socket.gethostname())
        self._write_attempts()

    def flush_curve(self, seed: int, points: Sequence[EvalPoint]) -> None:
        """Write the curve so far, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._flushed_at >= self._flush_seconds and points:
            self._store.write_rows(self._records.curve, points)
            self._flushed_at = now
            log.info("progress", seed=seed, step=points[-1].step, validation_accuracy=points[-1].validation_accuracy)

    def finish(self, points: Sequence[EvalPoint], predictions: Sequence[Prediction], result: RunResult) -> None:
        """Write curve and predictions, then the result that names their hashes."""
        self._store.write_rows(self._records.curve, points)
        self._store.write_rows(self._records.predictions, predictions)
        self._store.write_record(self._records.result, result)
        self.is_finished = True

    def end_attempt(self, exit_code: int, seconds_by_phase: dict[str, float], failure: Failure | None) -> None:
        """Put down how the attempt ended."""
        self._attempt = self._attempt.model_copy(
            update={
                "ended_at": _now(),
                "exit_code": exit_code,
                "problem": failure.problem if failure else None,
                "remedy": failure.remedy if failure else None,
                "seconds_by_phase": seconds_by_phase,
            }
        )
        self._write_attempts()

    def _write_attempts(self) -> None:
        self._store.write_rows(self._records.attempts, [*self._earlier, self._attempt])


def image_digest() -> str | None:
    """Return the digest of the container image, if this is a container that was told."""
    return os.environ.get(IMAGE_ENV)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
