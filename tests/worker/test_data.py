"""Data sets: files as people have them, prepared once, and what is said of those that cannot be read."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from worker.contract.config import PreparedData
from worker.contract.errors import DataError
from worker.contract.plan import DataSpec
from worker.contract.records import content_hash
from worker.data import load_split, prepare_data
from worker.splits import SPLITS, Example

HEADER = ("text", "label")
Row = Sequence[Any]


def make_rows(*classes: Any, count: int = 10) -> list[Row]:  # noqa: ANN401 - any JSON value
    """So many distinct texts of each class."""
    return [(f"text {name} {number}", name) for name in classes for number in range(count)]


def write_csv(path: Path, rows: Iterable[Row], header: Row = HEADER, encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_jsonl(path: Path, rows: Iterable[Row], header: Row = HEADER) -> Path:
    lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


WRITERS: dict[str, Callable[..., Path]] = {"news.csv": write_csv, "news.jsonl": write_jsonl}
both_forms = pytest.mark.parametrize("name", WRITERS)


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[..., PreparedData]:
    """Prepare a file in a cache of its own."""

    def prepare(path: Path, **spec: Any) -> PreparedData:  # noqa: ANN401 - fields of DataSpec
        prepared = prepare_data(DataSpec(source=str(path), **spec), tmp_path / "cache")
        assert prepared is not None
        return prepared

    return prepare


@pytest.fixture
def examples_of(tmp_path: Path) -> Callable[[PreparedData], list[Example]]:
    """All examples of a prepared data set."""

    def load(data: PreparedData) -> list[Example]:
        return [example for split in SPLITS for example in load_split(tmp_path / "cache", data, split)]

    return load


@both_forms
def test_texts_and_class_names_are_what_the_file_says(
    tmp_path: Path,
    prepare: Callable[..., PreparedData],
    examples_of: Callable[[PreparedData], list[Example]],
    name: str,
) -> None:
    rows = make_rows("NA", "01", "1", "null", "été", "10")
    rows += [('say "hi",\nthen\r\ngo\u2028on', "NA"), ("  spaces, and \ttabs ", "01"), ("nan", "1"), ("007", "10")]
    data = prepare(WRITERS[name](tmp_path / name, rows))
    found = {example.text: data.classes[example.target] for example in examples_of(data)}

    assert data.classes == ("01", "1", "10", "NA", "null", "été")
    assert set(found.items()) == {tuple(row) for row in rows}
    assert data.revision == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert data.num_examples.model_dump() == {"train": 42, "validation": 10, "test": 12}


def test_class_names_are_in_order_numbers_by_value_and_then_words(
    tmp_path: Path, prepare: Callable[..., PreparedData]
) -> None:
    numbers = [str(number) for number in range(30)]
    words = ["NAN", "NaN", "Nan", "a", "b", "inf", "nan"]
    data = prepare(write_csv(tmp_path / "news.csv", make_rows(*reversed([*numbers, *words]))))

    assert data.classes == (*numbers, *words)


def test_whole_numbers_and_booleans_are_class_names(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    assert prepare(write_jsonl(tmp_path / "a.jsonl", make_rows(10, 9, 0))).classes == ("0", "9", "10")
    assert prepare(write_jsonl(tmp_path / "b.jsonl", make_rows(*(True, False)))).classes == ("False", "True")


def test_other_columns_do_not_matter(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    rows = make_rows("a", "b")
    plain = prepare(write_csv(tmp_path / "plain.csv", rows))
    wide = write_csv(tmp_path / "wide.csv", [(1, name, "", text) for text, name in rows], ("id", "topic", "", "body"))

    assert prepare(wide, text_column="body", target_column="topic").digest == plain.digest


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    rows = make_rows("a", "b")
    marked = write_csv(tmp_path / "marked.csv", rows, encoding="utf-8-sig")

    assert prepare(marked).digest == prepare(write_csv(tmp_path / "plain.csv", rows)).digest


def test_csv_and_jsonl_of_the_same_rows_are_the_same_data(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    rows = make_rows("a", "b")
    digests = {prepare(write(tmp_path / name, rows)).digest for name, write in WRITERS.items()}

    assert len(digests) == 1


@both_forms
@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        (("body", "label"), make_rows("a", "b"), "has no column 'text' .data.text_column.; it has body, label"),
        (("text", "topic"), make_rows("a", "b"), "has no column 'label' .data.target_column.; it has text, topic"),
        (HEADER, [], "news.* (has no rows|is empty)"),
        (HEADER, [*make_rows("a", "b"), *[("", "a")] * 21], "21 of 41 rows have no text in column 'text'"),
        (
            HEADER,
            [("x", ""), *make_rows("a", "b"), ("y", None)],
            r"line [12]: column 'label' holds no class; 2 of 22 rows have none",
        ),
        (HEADER, make_rows("a"), r"1 class\(es\)"),
        (HEADER, [*make_rows("a", "b"), ("text", "c")], r"too few examples of 'c' \(1\)"),
    ],
    ids=["no text column", "no class column", "no rows", "mostly no texts", "no class", "one class", "rare class"],
)
def test_a_file_that_cannot_be_used_is_an_error_that_says_where(
    tmp_path: Path, prepare: Callable[..., PreparedData], name: str, header: Row, rows: list[Row], said: str
) -> None:
    path = WRITERS[name](tmp_path / name, rows, header)

    with pytest.raises(DataError, match=said):
        prepare(path)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("news.csv", ",a"),
        ("news.csv", ","),
        ("news.csv", '" \n\t",b'),
        ("news.jsonl", '{"text": null, "label": "a"}'),
        ("news.jsonl", '{"label": "a"}'),
        ("news.jsonl", "{}"),
    ],
)
def test_a_row_without_a_text_is_left_out_and_counted(
    tmp_path: Path, prepare: Callable[..., PreparedData], name: str, row: str
) -> None:
    path = WRITERS[name](tmp_path / name, make_rows("a", "b"))
    whole = prepare(path)
    path.write_text(path.read_text("utf-8") + f"{row}\n" * 20, "utf-8")

    holed = prepare(path)

    assert (whole.num_empty_dropped, holed.num_empty_dropped) == (0, 20)
    assert holed.digest == whole.digest


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("news.csv", b""),
        ("news.csv", b'text,label\n"never closed,a\n'),
        ("news.csv", b"text,label\n\xff\xfe,a\n"),
        ("news.jsonl", b""),
        ("news.jsonl", b'{"text": "a", "label": "b"'),
        ("news.jsonl", b"text,label\n"),
        ("news.jsonl", b'{"text": "a", "label": 0.5}\n'),
        ("news.jsonl", b'{"text": "a", "label": ["b"]}\n'),
    ],
)
def test_a_file_that_is_not_well_formed_is_an_error_that_names_it(
    tmp_path: Path, prepare: Callable[..., PreparedData], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=name):
        prepare(tmp_path / name)


def test_a_row_with_more_fields_than_columns_is_an_error(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    path = write_csv(tmp_path / "news.csv", make_rows("a", "b"))
    path.write_text(path.read_text("utf-8") + "Unquoted, as people do,a\n", "utf-8")

    with pytest.raises(DataError, match=r"news\.csv"):
        prepare(path)


@both_forms
def test_a_file_that_is_not_there_is_an_error_that_names_it(
    tmp_path: Path, prepare: Callable[..., PreparedData], name: str
) -> None:
    with pytest.raises(DataError, match=rf"{name} cannot be read: No such file"):
        prepare(tmp_path / name)


def test_a_data_set_is_prepared_once(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    path = write_csv(tmp_path / "news.csv", make_rows("a", "b"))
    first = prepare(path)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*")}

    assert prepare(path) == first
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*")} == files


def test_a_file_that_has_changed_is_another_data_set(tmp_path: Path, prepare: Callable[..., PreparedData]) -> None:
    path = tmp_path / "news.csv"
    first = prepare(write_csv(path, make_rows("a", "b")))
    second = prepare(write_csv(path, make_rows("a", "b", count=11)))

    assert first.digest != second.digest
    assert first.revision != second.revision
    assert load_split(tmp_path / "cache", first, "train") != load_split(tmp_path / "cache", second, "train")


def test_the_digest_covers_texts_and_classes_of_the_splits(
    tmp_path: Path, prepare: Callable[..., PreparedData]
) -> None:
    rows = make_rows("a", "b")
    renamed = [(text, {"a": "x", "b": "y"}[name]) for text, name in rows]
    path = write_csv(tmp_path / "1.csv", rows)
    digests = {
        prepare(path).digest,
        prepare(write_csv(tmp_path / "2.csv", renamed)).digest,
        prepare(write_csv(tmp_path / "3.csv", [(f"{text}!", name) for text, name in rows])).digest,
        prepare(path, split_seed=1).digest,
        prepare(path, train_examples=4).digest,
    }

    assert len(digests) == 5
    assert prepare(write_csv(tmp_path / "4.csv", list(reversed(rows)))).digest in digests


def test_only_looking_says_none_until_the_data_set_is_there(tmp_path: Path) -> None:
    spec = DataSpec(source=str(write_csv(tmp_path / "news.csv", make_rows("a", "b"))))
    cache = tmp_path / "cache"

    assert prepare_data(spec, cache, only_look=True) is None
    assert not cache.exists()
    prepared = prepare_data(spec, cache)
    assert prepared is not None
    assert prepare_data(spec, cache, only_look=True) == prepared


def test_what_was_prepared_before_there_were_own_splits_is_still_found(tmp_path: Path, data_spec: DataSpec) -> None:
    prepare_data(data_spec, tmp_path)
    spec = {
        "source": "builtin:language-names",
        "revision": None,
        "subset": None,
        "text_column": "text",
        "target_column": "label",
        "train_examples": 160,
        "validation_examples": 40,
        "test_examples": 40,
        "split_seed": 0,
    }
    request = content_hash({"spec": spec, "revision": None, "recipe": 2})

    assert [path.name for path in (tmp_path / "data" / "requests").iterdir()] == [f"{request}.json"]


def test_an_answer_of_before_says_that_nothing_was_empty_or_absent(data: PreparedData) -> None:
    younger = {"num_empty_dropped", "absent_from_validation", "absent_from_test"}

    old = PreparedData.model_validate_json(data.model_dump_json(exclude=younger))

    assert old == data


def test_splits_that_are_not_in_the_cache_are_an_error_that_says_so(tmp_path: Path, data: PreparedData) -> None:
    with pytest.raises(DataError, match="The train split of builtin:language-names is not in the cache"):
        load_split(tmp_path, data, "train")


def test_the_built_in_data_set_has_the_sizes_and_the_balance_it_was_asked_for(data: PreparedData) -> None:
    assert data.num_examples.model_dump() == {"train": 160, "validation": 40, "test": 40}
    assert data.classes == ("en", "fi", "fr", "pl")
    assert data.majority_accuracy == 0.25
    assert (data.num_duplicates_dropped, data.num_conflicts_dropped, data.revision) == (0, 0, None)
