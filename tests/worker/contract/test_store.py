"""The results store: whole objects, on a disk and elsewhere."""

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NoReturn

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.errors import ConfigError, ResultError, StoreError
from worker.contract.local_files import ABANDONED_SECONDS, write_file_atomically
from worker.contract.locks import only_run_of
from worker.contract.results import ArmStatus, Attempt, EvalPoint, Failure, Prediction
from worker.contract.store import ResultsStore, RunRecords, arm_folder, encode_rows, run_folder

HERE = PurePosixPath("trial/runs/a/record.json")
FAILURE = Failure(exit_code=1, problem="It broke.", remedy="Mend it.")


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResultsStore]:
    """An empty store: a local folder, or an object store in memory or on a server."""
    if request.param == "folder":
        yield ResultsStore(str(tmp_path / "results"))
    elif request.param == "s3":
        yield ResultsStore(request.getfixturevalue("s3_url"))
    else:
        yield ResultsStore("memory://results")
        fsspec.filesystem("memory").rm("/results", recursive=True)


def fail(*_arguments: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def test_what_was_written_is_read(store: ResultsStore) -> None:
    store.write(HERE, b"old")
    store.write(HERE, b"new")

    assert store.read(HERE) == b"new"
    assert store.names(HERE.parent) == ["record.json"]


def test_what_is_not_there_is_none_and_no_rows(store: ResultsStore) -> None:
    store.write(PurePosixPath("other"), b"")

    assert store.read(HERE) is None
    assert store.read_record(HERE, Failure) is None
    assert store.read_rows(HERE, EvalPoint) == []
    assert store.names(HERE.parent) == []


def test_deleting_is_done_once_and_never_fails(store: ResultsStore) -> None:
    store.write(HERE, b"old")
    store.delete(HERE)
    store.delete(HERE)

    assert store.read(HERE) is None
    store.write(HERE, b"so that the store is not empty")


def test_a_record_is_read_as_it_was_written(store: ResultsStore) -> None:
    store.write_record(HERE, FAILURE)

    assert store.read_record(HERE, Failure) == FAILURE
    assert (store.read(HERE) or b"").startswith(b'{\n  "exit_code": 1,\n')


@pytest.mark.parametrize("content", [b'{"exit_code": 1, "probl', b"[]", b"", b'{"exit_code": 1}', b"\xff"])
def test_a_torn_or_foreign_record_is_an_error_that_names_it(store: ResultsStore, content: bytes) -> None:
    store.write(HERE, content)

    with pytest.raises(ResultError, match=re.escape(f"{store.locate(HERE)} is not a Failure")):
        store.read_record(HERE, Failure)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_not_read(store: ResultsStore, number: str) -> None:
    store.write(HERE, f'{{"step": 0, "validation_loss": {number}}}\n'.encode())

    with pytest.raises(ResultError, match="validation_loss: Input should be a finite number"):
        store.read_record(HERE, EvalPoint)
    with pytest.raises(ResultError, match="validation_loss: Input should be a finite number"):
        store.read_rows(HERE, EvalPoint)


def test_a_record_that_holds_a_key_twice_is_not_read(store: ResultsStore) -> None:
    store.write(HERE, b'{"exit_code": 1, "problem": "p", "exit_code": 0, "remedy": "r"}')

    with pytest.raises(ResultError, match="is not a Failure: the key 'exit_code' stands there twice"):
        store.read_record(HERE, Failure)


def test_a_record_of_a_newer_version_is_called_that(store: ResultsStore) -> None:
    store.write(HERE, b'{"schema_version": 2, "mood": "new", "state": "done"}')

    with pytest.raises(ResultError, match=r"has schema_version 2; this freeze-bench reads 1\. Use the"):
        store.read_record(HERE, ArmStatus)


def test_a_folder_in_the_place_of_a_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = ResultsStore(str(tmp_path))
    (tmp_path / HERE).mkdir(parents=True)

    with pytest.raises(ResultError, match=r"record\.json cannot be read: Is a directory"):
        store.read_record(HERE, Failure)
    with pytest.raises(StoreError, match=r"record\.json cannot be written: Is a directory"):
        store.write_record(HERE, FAILURE)
    with pytest.raises(StoreError, match=r"record\.json cannot be deleted: Is a directory"):
        store.delete(HERE)
    store.write(HERE.with_name("file"), b"")
    with pytest.raises(ResultError, match=r"below\.json cannot be read: Not a directory"):
        store.read(HERE.with_name("file") / "below.json")


def test_what_lies_below_a_folder_is_listed_without_locks(store: ResultsStore) -> None:
    paths = [PurePosixPath(text) for text in ("a/plan.json", "a/runs/x/seed-0/curve.jsonl", "a-b", "b/c")]
    for path in (*paths, PurePosixPath("a/.lock"), PurePosixPath(".hidden/file")):
        store.write(path, b"x")

    assert store.walk(PurePosixPath()) == sorted(paths)
    assert store.walk(PurePosixPath("a")) == paths[:2]
    assert store.walk(PurePosixPath("nowhere")) == []
    assert store.names(PurePosixPath()) == ["a", "a-b", "b"]
    assert store.folder_names(PurePosixPath()) == ["a", "b"]
    assert store.names(PurePosixPath("a")) == ["plan.json", "runs"]


def test_an_object_is_created_once(store: ResultsStore) -> None:
    store.write(HERE.with_name("neighbour"), b"")

    assert [store.create(HERE, b"first"), store.create(HERE, b"second")] == [True, False]
    assert store.read(HERE) == b"first"


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    store = ResultsStore(str(tmp_path / "store"))
    (tmp_path / "elsewhere").mkdir()
    store.write(PurePosixPath("a/plan.json"), b"x")
    (tmp_path / "store" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "store" / "c").symlink_to(tmp_path / "nowhere")

    assert store.folder_names(PurePosixPath()) == ["a", "b"]


@pytest.mark.parametrize(
    "url", ["github://a/b", "gist://x", "reference://x", "dbfs://x", "jlab://x", "dir://x", "generic://x"]
)
def test_a_file_system_that_needs_more_than_a_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=f"The results store '{url}' cannot be opened: "):
        ResultsStore(url)


@pytest.mark.parametrize("torn", [b'{"number":2,"started_at":"t', b"\xff\xfe", b'{"number": 0}'])
def test_a_torn_list_of_attempts_is_set_aside_and_what_can_be_read_is_kept(store: ResultsStore, torn: bytes) -> None:
    records = RunRecords(store, "trial", "a", 0)
    first = Attempt(number=1, started_at="2026-01-01", host="here")
    content = encode_rows([first]) + torn
    store.write(records.attempts, content)
    with pytest.raises(ResultError, match=r"attempts\.jsonl is not a Attempt"):
        records.read_attempts()

    assert records.recover_attempts() == records.recover_attempts() == [first]

    (aside,) = (path for path in store.walk(PurePosixPath("trial")) if path != records.attempts)
    assert aside.name.startswith("attempts.unreadable-")
    assert store.read(aside) == content


def test_torn_rows_are_an_error_that_names_the_file(store: ResultsStore) -> None:
    whole = encode_rows([EvalPoint(step=0), EvalPoint(step=1)])
    store.write(HERE, whole[:-5])

    with pytest.raises(ResultError, match=re.escape(f"{store.locate(HERE)} is not a EvalPoint")):
        store.read_rows(HERE, EvalPoint)


def test_a_store_is_one_place_by_whatever_path(tmp_path: Path) -> None:
    ResultsStore(f"{tmp_path}/results/").write(HERE, b"x")

    assert ResultsStore(f"file://{tmp_path}/results").read(HERE) == b"x"
    assert (tmp_path / "results" / HERE).read_bytes() == b"x"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "record.json"
    write_file_atomically(path, b"old")
    monkeypatch.setattr(os, call, fail)

    with pytest.raises(OSError, match="No space left"):
        write_file_atomically(path, b"new")

    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("record.json", b"old")]


def test_a_reader_of_the_old_file_keeps_it_while_a_new_one_is_put(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_file_atomically(path, b"old content")
    with path.open("rb") as reader:
        start = reader.read(3)
        write_file_atomically(path, b"new")
        assert start + reader.read() == b"old content"
    assert path.read_bytes() == b"new"


def test_what_a_killed_writer_left_is_never_seen_and_goes_with_the_next_run(tmp_path: Path) -> None:
    store = ResultsStore(str(tmp_path))
    store.write(HERE, b"whole")
    folder = (tmp_path / HERE).parent
    unfinished = {name: folder / f".record.json.{name}.part" for name in ("old", "young")}
    for path in unfinished.values():
        path.write_bytes(b"half")
    long_ago = time.time() - ABANDONED_SECONDS - 1
    os.utime(unfinished["old"], (long_ago, long_ago))

    assert store.names(HERE.parent) == ["record.json"]
    assert store.walk(PurePosixPath()) == [HERE]
    with only_run_of(store, "trial"):
        pass
    assert {name: path.exists() for name, path in unfinished.items()} == {"old": False, "young": True}
    assert store.read(HERE) == b"whole"


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    write_file_atomically(tmp_path / "record.json", b"")

    assert (tmp_path / "record.json").stat().st_mode & 0o777 == 0o644


def test_where_records_lie_is_fixed(tmp_path: Path) -> None:
    records = RunRecords(ResultsStore(str(tmp_path)), "trial", "live-a", 7)
    folder = "trial/runs/live-a/seed-7"

    assert str(arm_folder("trial", "live-a")) == "trial/runs/live-a"
    assert str(run_folder("trial", "live-a", 7)) == folder
    assert {name: str(path) for name, path in vars(records).items() if name != "store"} == {
        "config": f"{folder}/config.json",
        "curve": f"{folder}/curve.jsonl",
        "predictions": f"{folder}/predictions.jsonl",
        "result": f"{folder}/result.json",
        "attempts": f"{folder}/attempts.jsonl",
    }


ratios = st.none() | st.floats(0, 1)
losses = st.none() | st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(
    EvalPoint,
    step=st.integers(0, 100_000),
    validation_accuracy=ratios,
    validation_loss=losses,
    train_accuracy=ratios,
    train_loss=losses,
)
predictions = st.builds(
    Prediction,
    split=st.sampled_from(["validation", "test"]),
    example=st.text(),
    target=st.integers(0),
    last=st.integers(0),
    best=st.integers(0),
)


@given(st.lists(points, max_size=8), st.lists(predictions, max_size=8))
@settings(deadline=None, max_examples=60)
def test_rows_are_read_bit_for_bit_as_they_were_written(curve: list[EvalPoint], predicted: list[Prediction]) -> None:
    store = ResultsStore("memory://rows")

    assert store.write_rows(HERE, curve) == encode_rows(curve) == store.read(HERE)
    assert store.read_rows(HERE, EvalPoint) == curve
    assert encode_rows(store.read_rows(HERE, EvalPoint)) == encode_rows(curve)
    store.write_rows(HERE, predicted)
    assert store.read_rows(HERE, Prediction) == predicted


def test_equal_rows_are_equal_bytes_one_line_each() -> None:
    encode: Callable[[float], bytes] = lambda loss: encode_rows([EvalPoint(step=0, validation_loss=loss)] * 2)  # noqa: E731 - twice the same

    assert encode(0.1).count(b"\n") == 2
    assert encode(0.1) == encode(0.1) != encode(0.1 + 1e-16)
