"""A store that is full, read-only, closed or away: what passes is waited for, what does not is one error at once."""

import errno
import logging
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from types import FrameType

import fsspec
import pytest

from s3_server import BUCKET, S3Server
from worker.contract.errors import StoreError
from worker.contract.patience import LOOK_PATIENCE_SECONDS, PATIENCE_SECONDS, Patience
from worker.contract.store import ResultsStore
from worker.contract.trouble import may_pass

HERE = PurePosixPath("trial/runs/a/record.json")
EVERY_WAY: dict[str, Callable[[ResultsStore], object]] = {
    "read": lambda store: store.read(HERE),
    "written": lambda store: store.write(HERE, b"new"),
    "created": lambda store: store.create(HERE, b"new"),
    "deleted": lambda store: store.delete(HERE),
    "listed": lambda store: store.names(HERE.parent),
    "walked": lambda store: store.walk(HERE.parent),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte; remount it to make it read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_is_an_error_at_once_and_leaves_what_was_there(disk: Path) -> None:
    store = ResultsStore(str(disk))
    store.write(HERE, b"old")

    with pytest.raises(StoreError) as full:
        store.write(HERE, b"x" * 2**21)

    assert full.value.problem == f"{disk}/{HERE} cannot be written: No space left on device."
    assert full.value.remedy == "Free space there, then run the same again: what is done is kept."
    assert not full.value.may_pass
    assert (full.value.exit_code, files(disk)) == (1, {"record.json": 3})
    store.write(HERE, b"newer")
    assert store.read(HERE) == b"newer"


def test_a_read_only_disk_is_an_error_at_once_and_can_be_read(disk: Path) -> None:
    store = ResultsStore(str(disk))
    store.write(HERE, b"old")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    for done in ("written", "deleted"):
        with pytest.raises(StoreError, match=f"cannot be {done}: Read-only file system. It is mounted read-only"):
            EVERY_WAY[done](store)
    assert store.read(HERE) == b"old"
    assert store.names(HERE.parent) == ["record.json"]


AS_NOBODY = """
import os, sys
from pathlib import PurePosixPath
from worker.contract.store import ResultsStore
store = ResultsStore(sys.argv[1])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store.write(PurePosixPath(sys.argv[2]), b"x")
"""


def test_a_forbidden_folder_is_an_error_that_names_it() -> None:
    """In a process of a user without rights: root may write everywhere."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)

        ended = subprocess.run([sys.executable, "-c", AS_NOBODY, folder, HERE], capture_output=True, check=False)

        said = f"StoreError: {folder}/{HERE} cannot be written: Permission denied. Give this user the right to read"
        assert said in ended.stderr.decode()


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_missing_bucket_is_an_error_at_once(s3_server: S3Server, way: str) -> None:
    assert s3_server

    with pytest.raises(StoreError, match=r"does not exist \(NoSuchBucket\)\. Name a bucket that exists"):
        EVERY_WAY[way](ResultsStore("s3://no-such-bucket/results"))


@pytest.fixture
def strict_s3_server(s3_server: S3Server) -> Iterator[S3Server]:
    """The server asks for permissions, and no client is remembered."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    s3_server.require_permissions(required=True)
    yield s3_server
    s3_server.require_permissions(required=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.mark.parametrize("way", EVERY_WAY)
def test_wrong_credentials_are_an_error_at_once(strict_s3_server: S3Server, way: str) -> None:
    assert strict_s3_server

    with pytest.raises(StoreError, match=r"\(InvalidAccessKeyId\)\. Check the credentials"):
        EVERY_WAY[way](ResultsStore(f"s3://{BUCKET}/results"))


def test_a_user_without_permission_is_told_so(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    iam = s3_server.client("iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    s3_server.require_permissions(required=True)
    try:
        with pytest.raises(StoreError, match=r"\(AccessDenied\)\. Check the credentials, and that they may list, read"):
            ResultsStore(f"s3://{BUCKET}/results").write(HERE, b"x")
    finally:
        s3_server.require_permissions(required=False)
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_missing_credentials_are_an_error_at_once(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert s3_server
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    with pytest.raises(StoreError, match=r"Unable to locate credentials\. Set AWS_ACCESS_KEY_ID and"):
        ResultsStore(f"s3://{BUCKET}/results").write(HERE, b"x")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


# Away, and back.


@pytest.fixture
def cut_off(s3_server: S3Server) -> Iterator[S3Server]:
    """The server refuses connections until the test mends it; it answers again in the end."""
    s3_server.cut()
    yield s3_server
    s3_server.mend()


def test_what_is_done_in_a_short_silence_is_done_after_it(
    cut_off: S3Server, s3_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("freeze_bench"), "propagate", True)  # whatever a worker's log has done to it
    store = ResultsStore(s3_url)
    threading.Timer(1.0, cut_off.mend).start()
    started = time.monotonic()

    store.write(HERE, b"x")

    assert 1.0 <= time.monotonic() - started < 10
    assert store.read(HERE) == b"x"
    away, back = (record.getMessage() for record in caplog.records)
    assert away.startswith(f"The results store {s3_url} does not answer (")
    assert away.endswith(": asking again for up to 90 s.")
    assert back.startswith(f"The results store {s3_url} answers again, after ")


def test_a_silence_that_lasts_is_an_error_and_is_waited_out_only_once(cut_off: S3Server, s3_url: str) -> None:
    store = ResultsStore(s3_url, patience_seconds=1.5)
    started = time.monotonic()

    for way in EVERY_WAY.values():
        with pytest.raises(StoreError, match=r"asked for 1\.5 s: Could not connect to the endpoint") as away:
            way(store)
        assert away.value.may_pass

    assert 1.5 <= time.monotonic() - started < 4
    cut_off.mend()
    store.write(HERE, b"x")
    assert store.read(HERE) == b"x"


def test_without_patience_silence_is_an_error_at_once_and_not_logged(
    cut_off: S3Server, s3_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert cut_off
    started = time.monotonic()

    with pytest.raises(StoreError, match=r"cannot be read: Could not connect"):
        ResultsStore(s3_url, patience_seconds=0).read(HERE)

    assert time.monotonic() - started < 2
    assert caplog.records == []


def test_a_conflict_of_two_puts_passes(s3_server: S3Server, s3_url: str) -> None:
    store = ResultsStore(s3_url)
    s3_server.refuse_conditional_put(409, "ConditionalRequestConflict")
    s3_server.refuse_conditional_put(409, "OperationAborted")

    assert store.create(HERE, b"x")
    assert store.read(HERE) == b"x"


def test_whoever_waits_stops_when_the_store_is_given_up(cut_off: S3Server, s3_url: str) -> None:
    assert cut_off
    store = ResultsStore(s3_url)
    threading.Timer(0.5, store.give_up).start()
    started = time.monotonic()

    for way in EVERY_WAY.values():
        with pytest.raises(StoreError):
            way(store)

    assert time.monotonic() - started < 5


def test_threads_share_one_patience() -> None:
    """Each hears the store, or its silence, while others do: none trips over what another has put down."""
    patience = Patience("s3://results", 1e-9)
    start = threading.Barrier(4)
    outcomes: set[type] = set()

    def ask() -> None:
        start.wait()
        for number in range(500):
            try:
                patience.call("read", "here", _be_silent if number % 2 else _answer)
                outcomes.add(int)
            except Exception as error:  # noqa: BLE001 - told apart below
                outcomes.add(type(error))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)

    assert outcomes == {int, StoreError}


def _answer() -> int:
    return 7


def _be_silent() -> int:
    raise TimeoutError


@pytest.mark.full
def test_a_store_that_accepts_and_never_answers_is_an_error_within_half_a_minute(
    s3_server: S3Server, s3_url: str
) -> None:
    store = ResultsStore(s3_url, patience_seconds=0)
    store.write(HERE, b"x")
    s3_server.stall()
    try:
        for way in ("read", "written", "listed"):
            started = time.monotonic()
            with pytest.raises(StoreError) as stalled:
                EVERY_WAY[way](store)
            assert stalled.value.may_pass
            assert time.monotonic() - started < 30, way
    finally:
        s3_server.mend()
    assert store.read(HERE) is not None


def test_a_signal_ends_the_wait(cut_off: S3Server, s3_url: str) -> None:
    assert cut_off

    class Told(BaseException):
        pass

    def tell(_number: int, _frame: FrameType | None) -> None:
        raise Told

    before = signal.signal(signal.SIGUSR1, tell)
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGUSR1)).start()
    started = time.monotonic()
    try:
        with pytest.raises(Told):
            ResultsStore(s3_url).read(HERE)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 5


def test_whoever_trains_waits_longer_than_a_minute_and_whoever_looks_does_not() -> None:
    assert PATIENCE_SECONDS > 60 > LOOK_PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        *((number, True) for number in (errno.EIO, errno.ESTALE, errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNREFUSED)),
        *((number, False) for number in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EDQUOT)),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(number: int, *, expected: bool) -> None:
    assert may_pass(OSError(number, "x")) == expected


def test_trouble_that_was_being_handled_when_the_store_was_called_is_not_taken_for_the_stores() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    full.__context__ = ConnectionResetError()

    assert not may_pass(full)
