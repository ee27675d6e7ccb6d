"""One run of a comparison at a time on object stores, whatever happens to who holds the lock."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from s3_server import S3Server
from worker.contract.errors import ComparisonBusyError
from worker.contract.lease import LeaseHolder
from worker.contract.locks import only_run_of
from worker.contract.store import ResultsStore

LOCK = PurePosixPath("trial/.lock")
OTHER = LeaseHolder(token="other", host="elsewhere", process=7)  # noqa: S106 - no password
HOLD = """
import sys
from worker.contract.locks import only_run_of
from worker.contract.store import ResultsStore
with only_run_of(ResultsStore(sys.argv[1]), "trial", float(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""
Hold = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def store(s3_url: str) -> ResultsStore:
    return ResultsStore(s3_url)


@pytest.fixture
def hold(store: ResultsStore) -> Iterator[Hold]:
    """Another process that runs the comparison until its standard input ends."""
    holders: list[subprocess.Popen[bytes]] = []

    def start(lease_seconds: float) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", HOLD, store.url, str(lease_seconds)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def test_a_second_process_is_refused_and_told_who_holds_the_lock(store: ResultsStore, hold: Hold) -> None:
    holder = hold(60)

    with (
        pytest.raises(ComparisonBusyError, match="is being run by another process") as refused,
        only_run_of(store, "trial"),
    ):
        pass

    assert f"process {holder.pid}, last heard of " in refused.value.remedy
    assert "its lock ends 120 s after" in refused.value.remedy
    with only_run_of(store, "another"):
        assert store.walk(PurePosixPath()) == []
    holder.communicate(b"")
    assert holder.returncode == 0
    assert store.read(LOCK) is None
    with only_run_of(store, "trial"):
        pass


def test_a_killed_holders_lock_is_taken_over_when_it_has_run_out(store: ResultsStore, hold: Hold) -> None:
    holder = hold(60)
    holder.kill()
    holder.wait()

    def take_over() -> bool:
        try:
            with only_run_of(store, "trial", lease_seconds=2):
                return True
        except ComparisonBusyError:
            return False

    assert not take_over()
    wait_until(take_over)
    assert store.read(LOCK) is None


def test_a_holder_renews_its_lock_for_as_long_as_it_runs(store: ResultsStore, hold: Hold) -> None:
    hold(2)
    mark = PurePosixPath("mark")
    store.write(mark, b"")
    wait_until(lambda: (store.seconds_between(mark, LOCK) or 0) > 3)

    with pytest.raises(ComparisonBusyError), only_run_of(store, "trial", lease_seconds=2):
        pass


def test_who_has_lost_the_lock_is_stopped(store: ResultsStore) -> None:
    def lose() -> None:
        with only_run_of(store, "trial", lease_seconds=1):
            store.write_record(LOCK, OTHER)
            threading.Event().wait(30)

    with pytest.raises(ComparisonBusyError, match="This one was away for too long, and has stopped"):
        lose()

    assert store.read_record(LOCK, LeaseHolder) == OTHER


def test_whatever_goes_wrong_after_the_lock_is_lost_the_reason_is_that_it_is_lost(store: ResultsStore) -> None:
    """In a thread that nobody can stop: it is told, and goes on to its own error."""
    errors: list[BaseException] = []

    def lose() -> None:
        try:
            with only_run_of(store, "trial", lease_seconds=1) as is_ours:
                assert is_ours()
                store.write_record(LOCK, OTHER)
                wait_until(lambda: not is_ours())
                raise ValueError
        except ComparisonBusyError as error:
            errors.append(error)

    thread = threading.Thread(target=lose)
    thread.start()
    thread.join()

    assert len(errors) == 1
    assert store.read_record(LOCK, LeaseHolder) == OTHER


def test_a_lock_that_was_taken_at_the_last_moment_is_named_at_the_end(store: ResultsStore) -> None:
    with pytest.raises(ComparisonBusyError), only_run_of(store, "trial", lease_seconds=60):
        store.write_record(LOCK, OTHER)

    assert store.read_record(LOCK, LeaseHolder) == OTHER


def test_a_lock_that_somebody_deleted_is_put_again(store: ResultsStore, hold: Hold) -> None:
    holder = hold(2)
    store.delete(LOCK)

    wait_until(lambda: store.read(LOCK) is not None)

    assert holder.poll() is None


def test_a_holder_that_was_asleep_for_longer_than_its_lock_does_not_take_a_free_one_for_its_own(
    store: ResultsStore, hold: Hold
) -> None:
    """Another may have run the comparison and given the lock back meanwhile."""
    holder = hold(1)
    holder.send_signal(signal.SIGSTOP)
    asleep_since = time.monotonic()
    store.delete(LOCK)
    wait_until(lambda: time.monotonic() - asleep_since > 1.5)

    holder.send_signal(signal.SIGCONT)

    assert holder.wait(30) == 1
    assert store.read(LOCK) is None


def test_a_store_without_conditional_puts_is_named_and_used(
    store: ResultsStore, s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        s3_server.refuse_conditional_put(501, "NotImplemented")

    with only_run_of(store, "trial"):
        assert store.read(LOCK) is not None

    (said,) = (record.getMessage() for record in caplog.records)
    assert "nothing keeps a second process from running 'trial'" in said


def test_of_several_who_take_over_a_torn_lock_at_once_one_does(store: ResultsStore) -> None:
    store.write(LOCK, b"\xfftorn")
    now = PurePosixPath("now")

    def is_old() -> bool:
        store.write(now, b"")
        return (store.seconds_between(LOCK, now) or 0) >= 2

    start, release = threading.Barrier(4), threading.Event()
    outcomes: list[str] = []

    def run() -> None:
        own = ResultsStore(store.url)
        start.wait()
        try:
            with only_run_of(own, "trial", lease_seconds=1):
                outcomes.append("held")
                release.wait(30)
        except ComparisonBusyError:
            outcomes.append("refused")

    wait_until(is_old)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) == 4)
    release.set()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["held", "refused", "refused", "refused"]


@pytest.mark.full
def test_a_lock_outlives_a_silence_of_the_store(store: ResultsStore, s3_server: S3Server) -> None:
    with only_run_of(store, "trial", lease_seconds=3):
        mark = PurePosixPath("mark")
        s3_server.cut()
        threading.Event().wait(1)
        s3_server.mend()
        store.write(mark, b"")
        wait_until(lambda: (store.seconds_between(mark, LOCK) or 0) > 0)

    assert store.read(LOCK) is None


class CarelessFileSystem(MemoryFileSystem):  # type: ignore[misc] # fsspec is not typed
    """Puts an object wherever it is told to, as servers do that ignore conditions."""

    protocol = "careless"
    store: dict[str, object] = {}  # noqa: RUF012 - as its parent has it
    pseudo_dirs = [""]  # noqa: RUF012 - as its parent has it

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: object) -> None:
        assert mode in {"create", "overwrite"}
        super().pipe_file(path, value, **kwargs)


def test_a_file_system_without_conditions_is_named_and_used(caplog: pytest.LogCaptureFixture) -> None:
    fsspec.register_implementation("careless", CarelessFileSystem, clobber=True)
    store = ResultsStore("careless://results")

    with only_run_of(store, "trial"), only_run_of(store, "trial"):
        pass

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "nothing keeps a second process from running 'trial'" in said[0]
