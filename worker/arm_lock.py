"""One worker at a time trains an arm: an older one that wakes up late would write over the records of a newer one.

The flow keeps a second run of a comparison away, but a worker may outlive its flow, or be started twice.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.contract.config import RunConfig
from worker.contract.errors import ComparisonBusyError
from worker.contract.records import content_hash
from worker.events import log

WAIT_SECONDS = 60.0
"""For a worker that is about to end, with a last checkpoint perhaps."""

_POLL_SECONDS = 0.2


def arm_name(config: RunConfig) -> str:
    """Return a name for files that people can read and that two stores never share."""
    return f"{config.comparison}.{config.arm.slug}.{content_hash(config.execution.results)[:12]}"


@contextmanager
def only_worker_of(config: RunConfig, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Keep a second worker with the same cache from training the same arm. The lock ends with the process.

    Args:
        config: What this worker trains.
        wait_seconds: How long the end of another is waited for.

    Raises:
        ComparisonBusyError: Another is still at it.
    """
    path = Path(config.execution.cache, "locks", f"{arm_name(config)}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    give_up_at = time.monotonic() + wait_seconds
    with path.open("ab") as lock:
        is_first = True
        while not _is_locked(lock.fileno()):
            if is_first:
                log.warning("waiting for another worker of this arm", lock=str(path))
                is_first = False
            if time.monotonic() >= give_up_at:
                raise ComparisonBusyError(
                    f"Another worker trains {config.arm.label!r} of {config.comparison!r}; it holds {path}.",
                    remedy="Wait for its end, or end it; then run the same again.",
                )
            time.sleep(_POLL_SECONDS)
        yield


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
