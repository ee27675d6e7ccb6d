"""What a worker leaves in the store, and in which order."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.results import EvalPoint, Failure
from worker.contract.store import ResultsStore, RunRecords
from worker.recorder import RunRecorder, image_digest

POINTS = [EvalPoint(step=0), EvalPoint(step=1)]
FAILURE = Failure(exit_code=44, problem="It diverged.", remedy="Lower it.")


@pytest.fixture
def start(tmp_path: Path, make_config: Callable[..., RunConfig]) -> Callable[..., RunRecorder]:
    """Start an attempt of a run with seeds 0 and 1."""

    def start(seed: int = 0, flush_seconds: float = 0) -> RunRecorder:
        config = make_config(Mode.FROZEN, seeds=(0, 1), execution={"flush_seconds": flush_seconds})
        return RunRecorder(ResultsStore(str(tmp_path)), config, seed)

    return start


@pytest.fixture
def records(tmp_path: Path) -> RunRecords:
    return RunRecords(ResultsStore(str(tmp_path)), "trial", "frozen-llama", 0)


def test_every_start_is_an_attempt_and_its_first_end_is_put_down(
    start: Callable[..., RunRecorder], records: RunRecords
) -> None:
    start()
    start().end_attempt({"training": 1.5}, FAILURE)
    finished = start()
    finished.end_attempt({})
    finished.end_attempt({}, FAILURE)
    killed, failed, done = records.read_attempts()

    assert [attempt.number for attempt in (killed, failed, done)] == [1, 2, 3]
    assert (killed.ended_at, killed.exit_code, killed.problem) == (None, None, None)
    assert (failed.exit_code, failed.problem, failed.remedy) == (44, "It diverged.", "Lower it.")
    assert failed.seconds_by_phase == {"training": 1.5}
    assert (done.exit_code, done.problem, done.remedy) == (0, None, None)
    started, ended = datetime.fromisoformat(done.started_at), datetime.fromisoformat(done.ended_at or "")
    assert started <= ended <= datetime.now(UTC) < started + timedelta(minutes=5)


def test_the_config_of_a_run_names_its_own_seed(start: Callable[..., RunRecorder], records: RunRecords) -> None:
    start(seed=0)
    start(seed=1)
    config = records.store.read_record(records.config, RunConfig)

    assert config is not None
    assert config.seeds == (0,)


def test_what_an_older_attempt_left_goes_when_there_is_something_new(
    start: Callable[..., RunRecorder], records: RunRecords
) -> None:
    left = (records.result, records.predictions)
    for path in (*left, records.curve):
        records.store.write(path, b"{}")
    recorder = start(seed=0, flush_seconds=0)
    assert [records.store.read(path) for path in left] == [b"{}"] * 2
    recorder.flush_curve(0, POINTS)

    assert [records.store.read(path) for path in left] == [None] * 2
    assert records.read_curve() == POINTS


def test_a_growing_curve_is_written_no_more_often_than_was_asked(
    start: Callable[..., RunRecorder], records: RunRecords
) -> None:
    start(flush_seconds=3600).flush_curve(0, POINTS)
    assert records.read_curve() == []
    recorder = start(flush_seconds=0)
    recorder.flush_curve(0, [])
    assert records.store.read(records.curve) is None
    for number in (1, 2):
        recorder.flush_curve(0, POINTS[:number])

        assert records.read_curve() == POINTS[:number]


def test_the_result_is_written_last(
    start: Callable[..., RunRecorder],
    records: RunRecords,
    make_config: Callable[..., RunConfig],
    train: Callable[[RunConfig], RunRecords],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished = train(make_config(Mode.FROZEN))
    result = finished.read_result()
    assert result is not None
    written: list[str] = []
    write = ResultsStore.write

    def write_and_note(self: ResultsStore, path: PurePosixPath, content: bytes) -> None:
        written.append(path.name)
        write(self, path, content)

    monkeypatch.setattr(ResultsStore, "write", write_and_note)
    recorder = start()
    written.clear()
    recorder.finish(finished.read_curve(), finished.read_predictions(), result)

    assert written == ["curve.jsonl", "predictions.jsonl", "result.json"]
    assert records.read_result() == result


def test_the_image_is_what_the_container_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FREEZE_BENCH_IMAGE", raising=False)
    assert image_digest() is None
    monkeypatch.setenv("FREEZE_BENCH_IMAGE", "sha256:1234")

    assert image_digest() == "sha256:1234"
