"""What counts as done: a whole result of exactly the experiment that was asked for. Both sides ask it the same way."""

import hashlib

from worker.contract.config import RunConfig
from worker.contract.errors import ExitCode, ResultError
from worker.contract.store import ResultsStore, RunRecords


def is_done(store: ResultsStore, config: RunConfig, seed: int) -> bool:
    """Whether the store holds a whole result of one seed of a run config, made since ``fresh_since``.

    A torn or foreign result does not count: the run is made again.
    """
    records = RunRecords(store, config.comparison, config.arm.slug, seed)
    try:
        result = records.read_result()
        return (
            result is not None
            and result.address == config.identity(seed).address
            and _sha256(records.store.read(records.curve)) == result.curve_sha256
            and _sha256(records.store.read(records.predictions)) == result.predictions_sha256
            and _was_finished_since(records, config.execution.fresh_since)
        )
    except ResultError:
        return False


def _was_finished_since(records: RunRecords, since: float | None) -> bool:
    """Whether an attempt that had to start afresh at that moment, or later, has ended well. Asks no clock."""
    return since is None or any(
        attempt.exit_code == ExitCode.DONE and attempt.fresh_since is not None and attempt.fresh_since >= since
        for attempt in records.read_attempts()
    )


def _sha256(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
