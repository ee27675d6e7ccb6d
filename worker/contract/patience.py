"""Patience with a results store that does not answer.

What may pass (a server that restarts, a network file system that stumbles) is tried again for a while. What will not
(a full disk, a missing bucket, wrong credentials) is an error at once.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from worker.contract.errors import StoreError
from worker.contract.trouble import describe, is_missing_bucket, may_pass, suggest_remedy

PATIENCE_SECONDS = 90.0
"""How long whoever trains waits for a store that does not answer: longer than a restart, shorter than a night."""

LOOK_PATIENCE_SECONDS = 10.0
"""How long whoever only looks waits: a person sits in front of it."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0

log = logging.getLogger("freeze_bench.store")
"""Tells of a store that does not answer. Whoever runs decides where that is shown."""

Returned = TypeVar("Returned")


class Patience:
    """How long one store is asked again, counted from its first silence over all calls: nobody waits for it twice.

    Threads share it: the first answer to one ends the silence for all.

    Args:
        url: Of the store, for messages.
        seconds: How long.
    """

    def __init__(self, url: str, seconds: float) -> None:
        """Begin as if the store answered."""
        self._url = url
        self._seconds = seconds
        self._lock = threading.Lock()
        self._silent_since: float | None = None
        self._is_given_up = threading.Event()

    def give_up(self) -> None:
        """Ask once and no more from now on; whoever waits stops waiting."""
        self._is_given_up.set()

    def call(self, done: str, location: str, action: Callable[[], Returned], *expected: type[Exception]) -> Returned:
        """Do one thing to the store, again and again while it does not answer and patience lasts.

        Args:
            done: What was tried, as it stands in "cannot be ...".
            location: Where the object lies.
            action: What to do; may be done twice.
            expected: Errors that the caller knows what to make of; a missing bucket is never a missing object.

        Raises:
            StoreError: It could not be done.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = action()
            except Exception as error:
                if isinstance(error, expected) and not is_missing_bucket(error):
                    self._hear()
                    raise
                if not may_pass(error) or not self._wait_for_answer(error, pause_seconds):
                    raise explain(done, location, error, self._seconds) from error
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            else:
                self._hear()
                return result

    def _wait_for_answer(self, error: Exception, seconds: float) -> bool:
        """Pause, unless patience is at its end. A signal handler that raises ends the pause."""
        now = time.monotonic()
        with self._lock:
            is_first = self._silent_since is None
            silent_since = self._silent_since = now if self._silent_since is None else self._silent_since
        left = silent_since + self._seconds - now
        if self._is_given_up.is_set():
            return False
        if is_first and self._seconds:
            log.warning(
                "The results store %s does not answer (%s): asking again for up to %g s.",
                self._url,
                describe(error),
                self._seconds,
            )
        return left > 0 and not self._is_given_up.wait(min(seconds, left))

    def _hear(self) -> None:
        with self._lock:
            silent_since, self._silent_since = self._silent_since, None
        if silent_since is not None and self._seconds:
            silent_seconds = time.monotonic() - silent_since
            log.warning("The results store %s answers again, after %.1f s.", self._url, silent_seconds)


def explain(done: str, location: str, error: Exception, waited_seconds: float = 0) -> StoreError:
    """Return the error that says what could not be done to an object, why, and what to do.

    Args:
        done: What was tried, as it stands in "cannot be ...".
        location: Where the object lies.
        error: What came back.
        waited_seconds: For how long that was tried, if it may pass.
    """
    may_help = may_pass(error)
    waited = f", asked for {waited_seconds:g} s" if may_help and waited_seconds else ""
    return StoreError(
        f"{location} cannot be {done}{waited}: {describe(error)}.", remedy=suggest_remedy(error), may_pass=may_help
    )
