"""One process at a time runs a comparison: two would take each other's curves for their own.

In a folder the lock is the system's and ends with the process, however it ends. On an object store it is a lease.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from worker.contract.lease import LEASE_SECONDS, Lease, busy
from worker.contract.local_files import remove_unfinished_files
from worker.contract.patience import explain
from worker.contract.stopping import LeaseLostError, stoppable
from worker.contract.store import ResultsStore


@contextmanager
def only_run_of(
    store: ResultsStore, comparison: str, lease_seconds: float = LEASE_SECONDS
) -> Iterator[Callable[[], bool]]:
    """Keep a second process from running the same comparison.

    Where a file system cannot create an object only if there is none, nothing keeps it; that is said in the log.
    On an object store ``LeaseLostError`` is raised in the main thread as soon as another is known to have the lease.

    Args:
        store: The results store.
        comparison: Which comparison.
        lease_seconds: How long an object store's lease holds without being renewed.

    Yields:
        Whether the comparison is still this process's. Once it is not, nothing may be written into it.

    Raises:
        ComparisonBusyError: Another process runs it, or took it over because this one could not renew its lease.
    """
    folder = store.local_path(PurePosixPath(comparison))
    if folder is not None:
        with _locked_folder(store, comparison, folder):
            remove_unfinished_files(folder)
            yield lambda: True
        return
    lease = Lease(store, comparison, lease_seconds)
    try:
        with stoppable(), lease:
            yield lambda: not lease.is_lost
    except LeaseLostError:  # that came while the lease was taken or given back
        raise lease.lost() from None


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
            raise busy(store, comparison, "Wait for it, or give this plan another name.") from error
        yield
