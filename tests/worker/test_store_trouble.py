"""A worker whose results store is far away, gone for a while, or full."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from s3_server import S3Server
from worker.__main__ import run
from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.errors import StoreError
from worker.contract.proof import is_done
from worker.contract.store import ResultsStore, RunRecords

MakeConfig = Callable[..., RunConfig]
Train = Callable[[RunConfig], RunRecords]
RESULT_FILES = ("curve.jsonl", "predictions.jsonl", "result.json")


def assert_same_results(first: RunRecords, second: RunRecords) -> None:
    for name in RESULT_FILES:
        contents = [records.store.read(records.result.with_name(name)) for records in (first, second)]
        assert contents[0] is not None
        assert contents[0] == contents[1], name


def test_an_arm_is_trained_into_an_object_store_with_the_same_bytes(
    make_config: MakeConfig, train: Train, s3_url: str
) -> None:
    here = train(make_config(Mode.FROZEN))
    there = train(make_config(Mode.FROZEN, execution={"results": s3_url, "flush_seconds": 0}))

    assert there.store.walk(PurePosixPath()) == here.store.walk(PurePosixPath())
    assert_same_results(here, there)


def test_training_waits_for_a_store_that_is_away_and_ends_with_the_same_bytes(
    make_config: MakeConfig, train: Train, s3_url: str, s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    here = train(make_config(Mode.FROZEN, steps=100))
    config = make_config(Mode.FROZEN, steps=100, execution={"results": s3_url, "flush_seconds": 0})
    is_over = threading.Event()

    def go_away() -> None:
        store = ResultsStore(s3_url)
        curve = RunRecords(store, config.comparison, config.arm.slug, 0).curve
        while store.read(curve) is None and not is_over.wait(0.01):
            pass
        s3_server.cut()
        is_over.wait(1)
        s3_server.mend()

    thread = threading.Thread(target=go_away)
    thread.start()
    try:
        there = train(config)
    finally:
        is_over.set()
        thread.join()

    assert_same_results(here, there)
    said = [record.getMessage() for record in caplog.records if record.name == "freeze_bench.store"]
    assert "does not answer" in said[0]
    assert "answers again, after" in said[-1]


@pytest.mark.full
def test_a_worker_waits_for_a_store_that_is_away_for_a_minute(
    make_config: MakeConfig,
    start_worker: Callable[..., "subprocess.Popen[bytes]"],
    events_of: Callable[..., list[dict[str, Any]]],
    wait_for_event: Callable[..., dict[str, Any]],
    s3_url: str,
    s3_server: S3Server,
) -> None:
    config = make_config(Mode.FROZEN, steps=400, execution={"results": s3_url, "flush_seconds": 0})
    worker = start_worker(config)
    wait_for_event(event="progress")

    s3_server.cut()
    wait_for_event(level="warning", source="freeze_bench.store")
    threading.Event().wait(60)
    s3_server.mend()

    assert worker.wait() == 0, events_of()
    away, back = (event["event"] for event in events_of() if event.get("source") == "freeze_bench.store")
    assert "does not answer" in away
    assert "answers again, after 6" in back
    assert is_done(ResultsStore(s3_url), config, 0)


@pytest.mark.full
def test_a_worker_that_waits_for_its_store_ends_in_time_when_it_is_told_to(
    make_config: MakeConfig,
    start_worker: Callable[..., "subprocess.Popen[bytes]"],
    wait_for_event: Callable[..., dict[str, Any]],
    s3_url: str,
    s3_server: S3Server,
) -> None:
    worker = start_worker(make_config(Mode.FROZEN, steps=400, execution={"results": s3_url, "flush_seconds": 0}))
    wait_for_event(event="progress")
    s3_server.cut()
    try:
        wait_for_event(level="warning", source="freeze_bench.store")
        worker.terminate()

        assert worker.wait(timeout=12) == 143
    finally:
        s3_server.mend()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kilobytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("room_kilobytes", [4, 16, 32])
def test_a_full_disk_ends_a_worker_with_one_message_and_no_torn_result(
    make_config: MakeConfig, small_disk: Path, room_kilobytes: int
) -> None:
    (small_disk / "other").write_bytes(bytes(2**10 * (64 - room_kilobytes)))
    config = make_config(Mode.FROZEN, steps=200, execution={"results": str(small_disk), "flush_seconds": 0})

    with pytest.raises(StoreError, match=r"cannot be written: No space left on device\. Free space there"):
        run(config)

    store = ResultsStore(str(small_disk))
    assert not is_done(store, config, 0)
    assert all(not path.name.endswith(".part") for path in small_disk.rglob("*"))
    (small_disk / "other").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    run(config)
    assert is_done(store, config, 0)
