"""A lease: the right to run a comparison on an object store.

It is an object that its holder puts again and again, and that another may take once it has not been put for a while.
"""

import os
import socket
import threading
import time
import uuid
from pathlib import PurePosixPath
from typing import Self

from pydantic import Field

from worker.contract.errors import ComparisonBusyError, ResultError, StoreError
from worker.contract.patience import log
from worker.contract.records import Record
from worker.contract.stopping import is_main_thread, stop_main_thread
from worker.contract.store import ResultsStore

LEASE_SECONDS = 120.0
"""How long a lease holds without being renewed: longer than a store may be away."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where the system has such a clock."""

_RENEWALS_PER_LEASE = 6
_SETTLING_SECONDS = 1.0
"""From taking over a lease to believing it: far more than a request of another who does the same at this moment."""


class LeaseHolder(Record):
    """Who runs a comparison: the content of its ``.lock`` on an object store."""

    token: str = Field(description="Of this lease alone.")
    host: str = Field(description="Name of the machine.")
    process: int = Field(description="Id of the process there.")


class Lease:
    """The right to run a comparison on an object store, from ``with`` to its end.

    Whether another's lease has run out is told by the times that the store gives to objects: machines may disagree
    about the time.

    Args:
        store: The results store.
        comparison: Which comparison.
        seconds: How long the lease holds without being renewed.

    Attributes:
        is_lost: Whether another has it, or may have had it while this process was away.
    """

    def __init__(self, store: ResultsStore, comparison: str, seconds: float) -> None:
        """Nothing is taken before the ``with`` block."""
        self._store = store
        self._impatient = ResultsStore(store.url, patience_seconds=0)
        self._comparison = comparison
        self._path = PurePosixPath(comparison, ".lock")
        self._seconds = seconds
        self._me = LeaseHolder(token=uuid.uuid4().hex, host=socket.gethostname(), process=os.getpid())
        self._content = self._me.model_dump_json().encode()
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self.is_lost = False
        self._is_of_main_thread = is_main_thread()
        self._renewed_at = 0.0
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def lost(self) -> ComparisonBusyError:
        """Return the error that says that the lease is another's."""
        return busy(self._store, self._comparison, "This one was away for too long, and has stopped.")

    def __enter__(self) -> Self:
        """Take the lease, or find it held."""
        self._renewed_at = time.clock_gettime(_CLOCK)
        if not self._store.create(self._path, self._content) and self._holder(self._store) != self._me:
            self._take_over()
        elif self._store.create(self._path, self._content):
            log.warning(
                "The results store %s cannot put an object only where there is none: nothing keeps a second process "
                "from running %r. Make sure that there is none.",
                self._store.url,
                self._comparison,
            )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        with self._turn:
            self._ended.set()
        self._thread.join()
        if self.is_lost:
            raise self.lost() from None
        try:
            holder = self._holder(self._impatient)
            if holder == self._me:
                self._impatient.delete(self._path)
        except StoreError as error:
            log.warning("The lock stays for %g s: %s", self._seconds, error.problem)
            return
        if holder not in {self._me, None}:
            raise self.lost() from None

    def _holder(self, store: ResultsStore) -> LeaseHolder | None:
        try:
            return store.read_record(self._path, LeaseHolder)
        except ResultError:
            return LeaseHolder(token="", host="a machine", process=0)  # nobody's token

    def _take_over(self) -> None:
        """Take a lease that has run out.

        Of several who try this at one moment, the last one to put its own finds it still there when all are done.
        """
        holder = self._holder(self._store)
        silent_seconds = self._measure_silence()
        if silent_seconds is not None and silent_seconds < self._seconds:
            who = f"{holder.host}, process {holder.process}" if holder else "another"
            raise busy(
                self._store,
                self._comparison,
                f"Wait for it ({who}, last heard of {silent_seconds:.0f} s ago), or give this plan another name. "
                f"If it was killed, its lock ends {self._seconds:g} s after it was last heard of.",
            )
        log.warning("Taking over %r in %s: its last process has gone silent.", self._comparison, self._store.url)
        if self._holder(self._store) == holder:
            self._store.delete(self._path)
        self._store.create(self._path, self._content)
        self._ended.wait(min(_SETTLING_SECONDS, self._seconds))
        if self._holder(self._store) != self._me:
            raise busy(self._store, self._comparison, "Wait for it, or give this plan another name.")

    def _measure_silence(self) -> float | None:
        """Return how long the lease has not been put, by the store's clock; None if it is gone."""
        probe = self._path.with_name(f".lock-{self._me.token}")
        self._store.write(probe, b"")
        try:
            return self._store.seconds_between(self._path, probe)
        finally:
            self._store.delete(probe)

    def _keep(self) -> None:
        """Renew the lease until the end, and stop the main thread if it is another's."""
        while not self._ended.wait(self._seconds / _RENEWALS_PER_LEASE):
            try:
                if self._renew():
                    continue
            except StoreError as error:
                log.warning("The lock of %r is not renewed: %s", self._comparison, error.problem)
                continue
            log.error("%r in %s was taken over by another process.", self._comparison, self._store.url)
            with self._turn:
                self.is_lost = True
                if self._is_of_main_thread and not self._ended.is_set():
                    stop_main_thread()
            return

    def _renew(self) -> bool:
        """Put the lease again, unless it is another's, or is gone and may have been another's meanwhile."""
        now = time.clock_gettime(_CLOCK)
        holder = self._holder(self._impatient)
        if holder is None and now - self._renewed_at < self._seconds:
            if not self._impatient.create(self._path, self._content):
                return False
        elif holder == self._me:
            self._impatient.write(self._path, self._content)
        else:
            return False
        self._renewed_at = now
        return True


def busy(store: ResultsStore, comparison: str, remedy: str) -> ComparisonBusyError:
    """Return the error that says that another process runs a comparison."""
    return ComparisonBusyError(
        f"The comparison {comparison!r} in {store.url} is being run by another process.", remedy=remedy
    )
