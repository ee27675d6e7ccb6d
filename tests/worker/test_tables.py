"""Data files of every form, as programs and people write them, and what is said of each way to get one wrong."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from worker.contract.config import PreparedData
from worker.contract.errors import DataError
from worker.contract.plan import DataSpec
from worker.data import load_split, prepare_data
from worker.splits import SPLITS

Prepare = Callable[..., PreparedData]
HARD = ('say "hi", then\tgo', "two\nlines\r\nand\u2028three", "NUL \0 kept", "مرحبا", "\N{GRINNING FACE}", " spaces ")
ROWS = [*((f"text {number}", "ab"[number % 2]) for number in range(30)), *((text, "a") for text in HARD)]
LINES = "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(30))
JSON_LINES = "".join(json.dumps({"text": text, "label": name}) + "\n" for text, name in ROWS)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Write a file, and prepare it in a cache of its own."""

    def prepare(name: str, content: bytes | str, **spec: Any) -> PreparedData:  # noqa: ANN401 - fields of DataSpec
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        prepared = prepare_data(DataSpec(source=str(tmp_path / name), **spec), tmp_path / "cache")
        assert prepared is not None
        return prepared

    return prepare


def problem(prepare: Prepare, name: str, content: bytes | str) -> str:
    """Return what is said of a file, after its folder."""
    with pytest.raises(DataError) as caught:
        prepare(name, content)
    assert caught.value.remedy
    return caught.value.problem.rpartition("/")[2]


def write_separated(delimiter: str = ",", terminator: str = "\n") -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=terminator).writerows([("text", "label"), *ROWS])
    return file.getvalue().encode()


def write_parquet(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def text_columns(kind: Any, labels: Any = None) -> dict[str, Any]:  # noqa: ANN401 - pyarrow has no types
    texts, names = zip(*ROWS, strict=True)
    return {"text": pa.array(texts).cast(kind), "label": pa.array(labels or names)}


FORMS = {
    "news.tsv": write_separated("\t"),
    "news.CSV": write_separated(),
    "windows.csv": write_separated(terminator="\r\n"),
    "mac.csv": write_separated(terminator="\r"),
    "marked.csv": b"\xef\xbb\xbf" + write_separated(),
    "packed.csv.gz": gzip.compress(write_separated()),
    "packed.tsv.gz": gzip.compress(write_separated("\t")),
    "packed.jsonl.gz": gzip.compress(JSON_LINES.encode()),
    "unpacked-by-a-server.csv.gz": write_separated(),
    "marked.jsonl": b"\xef\xbb\xbf" + JSON_LINES.replace("\n", "\r\n\n").encode(),
    "string.parquet": write_parquet(text_columns(pa.string())),
    "large.parquet": write_parquet(text_columns(pa.large_string())),
    "dictionary.parquet": write_parquet(text_columns(pa.dictionary(pa.int32(), pa.string()))),
}


def test_every_form_of_the_same_rows_is_the_same_data(tmp_path: Path, prepare: Prepare) -> None:
    plain = prepare("plain.jsonl", JSON_LINES)
    texts = {example.text for split in SPLITS for example in load_split(tmp_path / "cache", plain, split)}
    assert texts == {text for text, _ in ROWS}

    digests = {name: prepare(name, content).digest for name, content in FORMS.items()}

    assert digests == dict.fromkeys(FORMS, plain.digest)


@pytest.mark.parametrize(("labels", "classes"), [([3, 20] * 18, ("3", "20")), ([True, False] * 18, ("False", "True"))])
def test_parquet_classes_may_be_whole_numbers_or_truth_values(
    prepare: Prepare, labels: Sequence[object], classes: tuple[str, ...]
) -> None:
    assert prepare("news.parquet", write_parquet(text_columns(pa.string(), labels))).classes == classes


def test_a_text_of_a_million_characters_is_read_whole(tmp_path: Path, prepare: Prepare) -> None:
    long = "long text " * 100_000

    data = prepare("news.csv", f"text,label\n{LINES}{long},a\n")

    texts = [example.text for split in SPLITS for example in load_split(tmp_path / "cache", data, split)]
    assert max(texts, key=len) == long


def test_columns_that_are_not_read_may_be_of_any_kind(prepare: Prepare) -> None:
    plain = prepare("plain.parquet", write_parquet(text_columns(pa.string())))
    columns = {**text_columns(pa.string()), "meta": pa.array([{"id": 1}] * 36), "vector": pa.array([[0.5]] * 36)}

    assert prepare("wide.parquet", write_parquet(columns)).digest == plain.digest


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", f"text,label\n{LINES}a, b,c\n", "a.csv, line 32: 3 fields, the header has 2."),
        ("b.csv", f'text,label\n"two\nlines",a\n{LINES}only one\n', "b.csv, line 34: 1 fields, the header has 2."),
        ("c.csv", f'text,label\na,b\n"not closed,b\n{LINES}', "c.csv, line 3: the quotes of this record do not close"),
        ("d.csv", 'text,label\na,b\n"to" be,b\n', "d.csv, line 3: the quotes of this record do not close"),
        ("e.csv", "text,label,text\na,b,c\n", "e.csv has 2 columns named 'text' (data.text_column)."),
        ("f.csv", "", "f.csv is empty."),
        ("g.csv", "\n\n", "g.csv is empty."),
        ("h.csv", "text,label\n", "h.csv has no rows."),
        ("i.tsv", "text,label\na,b\n", "i.tsv has no column 'text' (data.text_column); it has text,label."),
    ],
)
def test_a_separated_file_that_is_not_well_formed_is_an_error_that_says_where(
    prepare: Prepare, name: str, content: str, said: str
) -> None:
    assert problem(prepare, name, content).startswith(said)


@pytest.mark.parametrize("name", ["news.csv", "news.jsonl"])
@pytest.mark.parametrize(
    ("encoding", "said", "remedy"),
    [
        ("latin-1", "line 3: byte 4 of the line is 0xe9, which is not UTF-8.", "iconv -f LATIN1"),
        ("utf-16", "line 1: byte 1 of the line is 0xff, which is not UTF-8.", "iconv -f UTF-16"),
    ],
)
def test_another_encoding_is_an_error_that_says_where_and_how_to_mend_it(
    prepare: Prepare, name: str, encoding: str, said: str, remedy: str
) -> None:
    content = "text,label\nplain,a\nEt \xe9,b\n"
    if name.endswith(".jsonl"):
        content = '{"text": "a", "label": "b"}\n\n"Et\xe9"\n'

    with pytest.raises(DataError) as caught:
        prepare(name, content.encode(encoding))

    assert caught.value.problem.endswith(f"{name}, {said}")
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "a"', "is not JSON: Expecting ',' delimiter (character 14)."),
        ("text,label", "is not JSON: Expecting value (character 1)."),
        ('["a", "b"]', "is a list, not an object with columns."),
        ('{"text": "a", "label": ' + "[" * 100_000, "cannot be read: maximum recursion depth exceeded"),
        ('{"text": "a", "label": ' + "1" * 5_000 + "}", "cannot be read: Exceeds the limit"),
        ('{"text": 7, "label": "a"}', ": column 'text' holds 7, which is no text."),
        ('{"text": ["a"], "label": "a"}', ": column 'text' holds ['a'], which is no text."),
        ('{"text": "t", "label": {"a": 1}}', ": column 'label' holds {'a': 1}, which is no class name."),
        ('{"text": "t", "label": 0.5}', ": column 'label' holds 0.5, which is no class name."),
        ('{"text": "t", "label": NaN}', ": column 'label' holds nan, which is no class name."),
        ('{"text": "t", "label": 1}', ": column 'label' holds 1, but 'a' in line 1."),
        ('{"text": "t", "label": true}', ": column 'label' holds True, but 'a' in line 1."),
        (r'{"text": "cut \ud83d", "label": "a"}', r": column 'text' holds half a character, \ud83d at character 5."),
        (r'{"text": "t", "label": "\ude00"}', r": column 'label' holds half a character, \ude00 at character 1."),
    ],
    ids=lambda value: value[:40],
)
def test_a_json_line_that_cannot_be_used_is_an_error_that_says_where(prepare: Prepare, line: str, said: str) -> None:
    separator = "" if said.startswith(":") else " "

    assert problem(prepare, "news.jsonl", f"{JSON_LINES}{line}\n").startswith(f"news.jsonl, line 37{separator}{said}")


def test_a_whole_emoji_written_as_two_halves_is_one_character(tmp_path: Path, prepare: Prepare) -> None:
    data = prepare("news.jsonl", JSON_LINES + r'{"text": "\ud83d\ude00!", "label": "a"}')

    texts = {example.text for split in SPLITS for example in load_split(tmp_path / "cache", data, split)}
    assert "\N{GRINNING FACE}!" in texts


def test_json_rows_may_have_other_keys_but_some_row_must_have_each_column(prepare: Prepare) -> None:
    plain = prepare("plain.jsonl", JSON_LINES)
    wide = '{"id": 1}\n' + JSON_LINES.replace('"label"', '"more": {"a": [1]}, "label"')

    assert prepare("wide.jsonl", wide).digest == plain.digest
    said = problem(prepare, "other.jsonl", wide.replace('"text"', '"body"'))
    assert said == "other.jsonl has no column 'text' (data.text_column); it has id, body, more, label."


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("text", [{"en": "a"}] * 36, "column 'text' (data.text_column) is of type struct<en: string>."),
        ("label", [["a"]] * 36, "column 'label' (data.target_column) is of type list<"),
        ("label", [0.5] * 36, "column 'label' (data.target_column) is of type double."),
        ("text", list(range(36)), "row 1: column 'text' holds 0, which is no text."),
        ("text", [None] * 36, "36 of 36 rows have no text in column 'text'."),
        ("label", [None, *"ab" * 17, None], "row 1: column 'label' holds no class; 2 of 36 rows have none."),
    ],
)
def test_a_parquet_column_of_another_kind_is_an_error_that_names_it(
    prepare: Prepare, column: str, values: list[object], said: str
) -> None:
    content = write_parquet({**text_columns(pa.string()), column: pa.array(values)})

    assert said in problem(prepare, "news.parquet", content)


@pytest.mark.parametrize("name", ["string.parquet", "packed.csv.gz", "packed.jsonl.gz"])
def test_a_file_that_was_cut_off_is_an_error_that_names_it(prepare: Prepare, name: str) -> None:
    whole = FORMS[name]

    for size in (4, len(whole) // 2, len(whole) - 1):
        said = problem(prepare, name, whole[:size])
        assert name in said
        assert "cannot be read" in said


def test_a_parquet_file_without_a_column_or_with_two_of_a_name_is_an_error(prepare: Prepare) -> None:
    twice = io.BytesIO()
    table = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "text", "label"])
    parquet.write_table(table, twice)

    assert problem(prepare, "a.parquet", write_parquet({"text": ["a"]})).startswith("a.parquet has no column 'label'")
    assert problem(prepare, "b.parquet", twice.getvalue()).startswith("b.parquet has 2 columns named 'text'")


@given(
    name=st.sampled_from(sorted(FORMS)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=150)
def test_whatever_bytes_a_file_holds_it_is_prepared_or_refused(
    name: str, edits: list[tuple[float, int, bytes]]
) -> None:
    content = FORMS[name]
    for place, num_removed, inserted in edits:
        start = int(place * len(content))
        content = content[:start] + inserted + content[start + num_removed :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            data = prepare_data(DataSpec(source=str(path)), Path(folder, "cache"))
        except DataError:
            return
        assert data is not None
        assert len(load_split(Path(folder, "cache"), data, "train")) == data.num_examples.train
