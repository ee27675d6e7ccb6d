"""Data sets as a person names them: forms by name, own splits, and what contradicts itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from worker.contract.data_files import find_form, is_local_file
from worker.contract.plan import DataSpec


@pytest.mark.parametrize(
    ("source", "form", "is_local"),
    [
        ("news.csv", "csv", True),
        ("NEWS.CSV.GZ", "csv", True),
        ("/data/a b/news.tsv", "tsv", True),
        ("acme/news.jsonl.gz", "jsonl", True),
        ("news.parquet", "parquet", True),
        ("what?.csv", "csv", True),
        ("news.parquet.gz", None, False),
        ("acme/news", None, False),
        ("csv", None, False),
        ("s3://bucket/news.parquet", "parquet", False),
        ("memory://news.csv", "csv", False),
        ("https://host/news.csv?version=2#top", "csv", False),
        ("https://host/download?file=news.csv", None, False),
    ],
)
def test_the_form_of_a_file_is_told_by_its_name(source: str, form: str | None, *, is_local: bool) -> None:
    assert find_form(source) == form
    assert is_local_file(source) is is_local


@pytest.mark.parametrize(
    "values",
    [
        {"source": "news.csv", "split_column": "fold"},
        {"source": "acme/news", "split_column": "fold", "subset": "en"},
        {"source": "news.csv", "validation_source": "dev.tsv", "test_source": "s3://bucket/test.parquet"},
        {"source": "acme/news", "revision": "main", "test_source": "test.jsonl"},
    ],
)
def test_own_splits_are_a_column_or_files(values: dict[str, Any]) -> None:
    spec = DataSpec.model_validate(values)

    assert DataSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"split_column": "fold", "test_source": "test.csv"}, "split_column and own files of splits contradict"),
        ({"split_column": "label"}, "target_column, split_column name one column twice: text, label, label"),
        ({"text_column": "label"}, "text_column, target_column name one column twice: label, label"),
        ({"split_column": ""}, "at least 1 character"),
        ({"source": "builtin:language-names", "test_source": "test.csv"}, "test_source have no meaning for 'builtin"),
        ({"source": "https://me:secret@host/news.csv"}, "a URL with a password, a token"),
        ({"test_source": "sftp://me:secret@host/news.csv"}, "a URL with a password, a token"),
        ({"source": "https://host/news.csv", "revision": "main"}, "revision 'main' has no meaning"),
    ],
)
def test_what_contradicts_itself_or_gives_a_secret_away_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DataSpec.model_validate({"source": "news.csv", **values})


def test_a_split_of_its_own_has_no_column_of_splits() -> None:
    spec = DataSpec(source="news.csv", split_column="fold")
    texts = {"text_column": "text", "target_column": "label"}

    assert spec.wanted_columns() == {**texts, "split_column": "fold"}
    assert spec.wanted_columns(is_split=True) == texts
