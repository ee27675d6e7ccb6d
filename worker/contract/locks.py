"""One process at a time runs a comparison: two would take each other's curves for their own.

In a folder the lock is the system's and ends with the process, however it ends. On an object store it is a lease: an
object that its holder puts again and again, and that another may take once it has not been put for a while.
"""

import fcntl
import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pydantic import Field

from worker.contract.errors import ComparisonBusyError, ResultError, StoreError
from worker.contract.local_files import remove_unfinished_files
from worker.contract.patience import explain, log
from worker.contract.records import Record
from worker.contract.store import ResultsStore

LEASE_SECONDS = 120.0
"""How long a lease holds without being renewed: longer than a store may be away."""

_RENEWALS_PER_LEASE = 6
_SETTLING_SECONDS = 1.0
"""From taking over a lease to believing it: far more than a request of another who does the same at this moment."""


class LeaseHolder(Record):
    """Who runs a comparison: the content of its ``.lock`` on an object store."""

    token: str = Field(description="Of this lease alone.")
    host: str = Field(description="Name of the machine.")
    process: int = Field(description="Id of the process there.")


@contextmanager
def only_run_of(store: ResultsStore, comparison: str, lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Keep a second process from running the same comparison.

    Where a file system cannot create an object only if there is none, nothing keeps it; that is said in the log.

    Args:
        store: The results store.
        comparison: Which comparison.
        lease_seconds: How long an object store's lease holds without being renewed.

    Raises:
        ComparisonBusyError: Another process runs it, or took it over because this one could not renew its lease.
    """
    folder = store.local_path(PurePosixPath(comparison))
    if folder is not None:
        with _locked_folder(store, comparison, folder):
            remove_unfinished_files(folder)
            yield
        return
    with Lease(store, comparison, lease_seconds):
        yield


@contextmanager
def _locked_folder(store: ResultsStore, comparison: str, folder: Path) -> Iterator[None]:
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab")
    except OSError as error:
        raise explain("locked", store.locate(PurePosixPath(comparison)), error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _busy(store, comparison, "Wait for it, or give this plan another name.") from error
        yield


class Lease:
    """The right to run a comparison on an object store, from ``with`` to its end.

    Whether another's lease has run out is told by the times that the store gives to objects: machines may disagree
    about the time. A process that has lost its lease is interrupted as if by Ctrl-C.

    Args:
        store: The results store.
        comparison: Which comparison.
        seconds: How long the lease holds without being renewed.
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
        self._is_lost = False
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> None:
        """Take the lease, or find it held."""
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give it back."""
        with self._turn:
            self._ended.set()
        self._thread.join()
        if self._is_lost:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                raise _busy(self._store, self._comparison, "This one was away for too long, and has stopped.")
            return
        try:
            if self._holder(self._impatient) == self._me:
                self._impatient.delete(self._path)
        except StoreError as error:
            log.warning("The lock stays for %g s: %s", self._seconds, error.problem)

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
            raise _busy(
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
            raise _busy(self._store, self._comparison, "Wait for it, or give this plan another name.")

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
                if self._holder(self._impatient) in {self._me, None}:
                    self._impatient.write(self._path, self._content)
                    continue
            except StoreError as error:
                log.warning("The lock of %r is not renewed: %s", self._comparison, error.problem)
                continue
            log.error("%r in %s was taken over by another process.", self._comparison, self._store.url)
            with self._turn:
                if not self._ended.is_set():
                    self._is_lost = True
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return


def _busy(store: ResultsStore, comparison: str, remedy: str) -> ComparisonBusyError:
    return ComparisonBusyError(
        f"The comparison {comparison!r} in {store.url} is being run by another process.", remedy=remedy
    )
