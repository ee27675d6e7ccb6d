"""Own splits: a column that says of each row where it belongs, or files of their own."""

import io
import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hub_server import HubServer
from worker.contract.config import Execution, PrepareConfig, PreparedData
from worker.contract.errors import DataError
from worker.contract.plan import DataSpec
from worker.contract.store import ResultsStore
from worker.data import load_split, prepare_data
from worker.splits import SPLITS, Split

Prepare = Callable[..., PreparedData]


def rows(word: str, count: int = 20, names: str = "ab", **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON value
    return [{"text": f"{word} {number}", "label": names[number % len(names)], **more} for number in range(count)]


def write(path: Path, documents: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    return str(path)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    def prepare(documents: Iterable[dict[str, Any]], **spec: Any) -> PreparedData:  # noqa: ANN401 - fields of DataSpec
        source = write(tmp_path / "news.jsonl", documents)
        prepared = prepare_data(DataSpec(source=source, **spec), tmp_path / "cache")
        assert prepared is not None
        return prepared

    return prepare


def words(cache: Path, data: PreparedData) -> dict[Split, set[str]]:
    """Return the first words of each split's texts."""
    return {split: {example.text.split()[0] for example in load_split(cache, data, split)} for split in SPLITS}


def test_a_column_says_which_split_a_row_is_in(tmp_path: Path, prepare: Prepare) -> None:
    documents = [*rows("one", fold="train"), *rows("two", fold="Valid"), *rows("three", fold=" dev "), *rows("four")]
    documents += [*rows("five", fold="TEST"), *rows("six", fold="training")]
    documents = [{"fold": "testing", **document} for document in documents]

    data = prepare(documents, split_column="fold")

    assert words(tmp_path / "cache", data) == {
        "train": {"one", "six"},
        "validation": {"two", "three"},
        "test": {"four", "five"},
    }


def test_a_split_that_the_column_never_names_is_drawn_from_train(tmp_path: Path, prepare: Prepare) -> None:
    data = prepare([*rows("one", 50, fold="train"), *rows("two", fold="test")], split_column="fold")

    assert words(tmp_path / "cache", data) == {"train": {"one"}, "validation": {"one"}, "test": {"two"}}
    assert data.num_examples.model_dump() == {"train": 40, "validation": 10, "test": 20}


@pytest.mark.parametrize("fold", [0, "", None, "holdout", ["train"]])
def test_a_value_that_names_no_split_is_an_error_that_names_it(prepare: Prepare, fold: object) -> None:
    documents = [*rows("one", fold="train"), *rows("two", fold=fold), *rows("three", fold="rest")]

    with pytest.raises(DataError, match=r"column 'fold' holds .*, 'rest', which is no split") as caught:
        prepare(documents, split_column="fold")

    assert f"line 21: column 'fold' holds {fold!r}, " in caught.value.problem
    assert "Write one of train, training, validation, valid, val, dev, development, test" in caught.value.remedy


def test_own_files_are_the_splits(tmp_path: Path, prepare: Prepare) -> None:
    held = {split: write(tmp_path / f"{split}.jsonl", rows(split)) for split in ("validation", "test")}

    data = prepare(rows("news"), validation_source=held["validation"], test_source=held["test"])

    assert words(tmp_path / "cache", data) == {"train": {"news"}, "validation": {"validation"}, "test": {"test"}}
    assert data.num_examples.model_dump() == {"train": 20, "validation": 20, "test": 20}


def test_a_split_without_a_file_is_drawn_and_texts_in_several_are_held_out(tmp_path: Path, prepare: Prepare) -> None:
    test = write(tmp_path / "test.jsonl", rows("news", 10))

    data = prepare(rows("news", 60), test_source=test)

    assert data.num_duplicates_dropped == 10
    assert data.num_examples.model_dump() == {"train": 40, "validation": 10, "test": 10}


def test_a_change_in_any_file_is_another_data_set_and_an_equal_copy_is_not(tmp_path: Path, prepare: Prepare) -> None:
    test = write(tmp_path / "test.jsonl", rows("test"))
    first = prepare(rows("news", 60), test_source=test)
    copied = prepare(rows("news", 60), test_source=write(tmp_path / "copy.jsonl", rows("test")))
    write(tmp_path / "test.jsonl", rows("other"))
    changed = prepare(rows("news", 60), test_source=test)

    assert (copied.digest, copied.revision) == (first.digest, first.revision)
    assert changed.digest != first.digest
    assert changed.revision != first.revision


def test_a_class_that_an_own_split_lacks_is_recorded(tmp_path: Path, prepare: Prepare) -> None:
    test = write(tmp_path / "test.jsonl", rows("test", names="b"))

    data = prepare(rows("news", 60, "abc"), test_source=test)

    assert (data.absent_from_validation, data.absent_from_test) == ((), ("a", "c"))


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (rows("test", names="abc"), r"too few examples of 'c' \(0\) to train on"),
        ([], r"test\.jsonl is empty"),
        (rows("news"), r"too few examples of 'a' \(0\), 'b' \(0\) to train on"),
        (rows("test", text=" "), r"test\.jsonl: 20 of 20 rows have no text"),
        ([{"text": "a", "topic": "b"}], r"test\.jsonl has no column 'label' \(data\.target_column\)"),
    ],
    ids=["a class that train lacks", "an empty file", "the texts of train", "no texts", "another column"],
)
def test_an_own_split_that_cannot_be_used_is_an_error(
    tmp_path: Path, prepare: Prepare, documents: list[dict[str, Any]], said: str
) -> None:
    test = write(tmp_path / "test.jsonl", documents)

    with pytest.raises(DataError, match=said):
        prepare(rows("news"), test_source=test)


def test_a_file_that_is_not_there_is_named(tmp_path: Path, prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"absent\.csv cannot be read: No such file"):
        prepare(rows("news"), validation_source=str(tmp_path / "absent.csv"))


def test_an_own_file_replaces_a_published_split_and_a_column_divides_a_published_table(
    tmp_path: Path, hub_server: HubServer, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    contents = {split: as_parquet(rows(split, fold="dev")) for split in ("train", "test")}
    hub_server.add_dataset("acme/news", {f"data/{split}.parquet": content for split, content in contents.items()})
    folds = [*rows("one", fold="train"), *rows("two", fold="val"), *rows("three", fold="test")]
    hub_server.add_dataset("acme/folds", {"data/train.parquet": as_parquet(folds)})
    specs = {
        "file": DataSpec(source="acme/news", test_source=write(tmp_path / "own.jsonl", rows("own"))),
        "column": DataSpec(source="acme/folds", split_column="fold"),
    }
    execution = Execution(results=str(tmp_path / "results"), cache=str(tmp_path / "cache"))
    workers = [
        start_worker(
            PrepareConfig(comparison="trial", name=name, answer=f"{name}.json", data=spec, execution=execution),
            name=name,
            environment=hub_server.environment(tmp_path / "hf"),
        )
        for name, spec in specs.items()
    ]

    assert [worker.wait() for worker in workers] == [0, 0]
    store = ResultsStore(str(tmp_path / "results"))
    found = {name: store.read_record(PurePosixPath(f"{name}.json"), PreparedData) for name in specs}
    assert {name: words(tmp_path / "cache", data) for name, data in found.items() if data} == {
        "file": {"train": {"train"}, "validation": {"train"}, "test": {"own"}},
        "column": {"train": {"one"}, "validation": {"two"}, "test": {"three"}},
    }


def as_parquet(documents: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - most tests here need none
    from pyarrow import parquet  # noqa: PLC0415

    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(documents), file)
    return file.getvalue()
