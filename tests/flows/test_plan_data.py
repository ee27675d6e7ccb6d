"""The data of a plan, as the command sees it: paths, headers, plans of before, and hosts whose files change."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from data_host import DataHost, HostedFile
from flows.executors.local import open_local_executor
from flows.plan_file import load_plan
from flows.preparation import PLAN_FILE, Asker, check_data, check_plan, find_data, prepare_data
from flows.settings import RunnerSettings
from worker.contract.errors import ConfigError, PlanConflictError
from worker.contract.plan import DataSpec, Plan
from worker.contract.store import ResultsStore, RunRecords

PLAN = """
name = "A plan"
[data]
{data}
[[arms]]
backbone = "acme/base"
mode = "frozen"
"""
HEADER = b"text,label\n"


def put(folder: Path, data: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(PLAN.format(data=data), "utf-8")
    return path


def test_every_file_of_the_data_is_read_from_the_plans_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "sets").mkdir()
    for name in ("news.csv", "sets/dev.tsv", "sets/test.parquet"):
        (tmp_path / name).write_bytes(HEADER.replace(b",", b"\t") if name.endswith("tsv") else HEADER)

    data = load_plan(
        put(tmp_path, 'source = "news.csv"\nvalidation_source = "sets/dev.tsv"\ntest_source = "./sets/test.parquet"')
    ).data

    assert (data.source, data.validation_source, data.test_source) == (
        str(tmp_path / "news.csv"),
        str(tmp_path / "sets/dev.tsv"),
        str(tmp_path / "sets/test.parquet"),
    )


def test_a_remote_file_is_neither_resolved_nor_asked_for(tmp_path: Path) -> None:
    data = load_plan(put(tmp_path, 'source = "https://host.invalid/a.csv"\ntest_source = "s3://bucket/b.csv.gz"')).data

    assert (data.source, data.test_source) == ("https://host.invalid/a.csv", "s3://bucket/b.csv.gz")


@pytest.mark.parametrize(
    ("settings", "content", "said"),
    [
        (
            "",
            b"body,label\n",
            "data.source: {folder}/news.csv has no column 'text' (data.text_column); it has body, label",
        ),
        ('split_column = "fold"', HEADER, "data.source: {folder}/news.csv has no column 'fold' (data.split_column)"),
        ("", b"text,label,label\n", "data.source: {folder}/news.csv has 2 columns named 'label' (data.target_column)"),
        ("", b"", "data.source: {folder}/news.csv is empty."),
        (
            "",
            "text,label,\xe9\n".encode("latin-1"),
            "data.source: {folder}/news.csv, line 1: byte 12 of the line is 0xe9",
        ),
        ("", b'"text,label\n', "data.source: {folder}/news.csv, line 1: the quotes of this record do not close"),
        ("", b"\x1f\x8b\x08torn", "data.source: The data file {folder}/news.csv cannot be read"),
        ('test_source = "news.tsv"', HEADER, "data.test_source: there is no file {folder}/news.tsv."),
        ('test_source = "sets.csv"', HEADER, "data.test_source: there is no file {folder}/sets.csv."),
        (f'test_source = "{"n" * 300}.csv"', HEADER, "data.test_source: there is no file {folder}/nnn"),
        (
            'test_source = "~nobody-of-this-name/a.csv"',
            HEADER,
            "data.test_source: there is no file {folder}/~nobody-of",
        ),
        (r'test_source = "a\u0000.csv"', HEADER, "data.test_source: there is no file a\x00.csv."),
        ('test_source = "acme/news"', HEADER, "data.test_source: 'acme/news' is no file of a form that is read"),
    ],
)
def test_a_file_that_is_certain_to_fail_is_refused_before_anything_is_started(
    tmp_path: Path, settings: str, content: bytes, said: str
) -> None:
    (tmp_path / "news.csv").write_bytes(content)
    (tmp_path / "sets.csv").mkdir()

    with pytest.raises(ConfigError) as caught:
        load_plan(put(tmp_path, f'source = "news.csv"\n{settings}'))

    assert said.format(folder=tmp_path) in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    "source",
    [
        "https://me:hunter2@host/news.csv",
        "https://hunter2@host/news.csv",
        "https://host/news.csv?token=hunter2",
        "https://host/news?file=a&X-Amz-Signature=hunter2",
    ],
)
@pytest.mark.parametrize("setting", ['source = "{}"', 'source = "news.csv"\ntest_source = "{}"'])
def test_a_secret_is_refused_and_not_repeated(tmp_path: Path, setting: str, source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_plan(put(tmp_path, setting.format(source)))

    assert "would be kept with the results" in caught.value.problem
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_a_backbone_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = put(tmp_path, 'source = "builtin:language-names"')
    path.write_text(path.read_text("utf-8").replace("acme/base", "https://hunter2@hub/acme/base"), "utf-8")

    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("line", [b"a" * 1024, b'"' + (b"a" * 127 + b"\n") * 8 + b'",'], ids=["one line", "many lines"])
def test_a_small_file_with_an_endless_header_takes_neither_memory_nor_a_long_message(
    tmp_path: Path, line: bytes
) -> None:
    packed = gzip.compress(line * (2**25 // len(line)))
    (tmp_path / "news.csv.gz").write_bytes(packed)
    tracemalloc.start()

    with pytest.raises(ConfigError, match="does not end within") as caught:
        load_plan(put(tmp_path, 'source = "news.csv.gz"'))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(packed) < 2**20
    assert peak < 2**25
    assert len(str(caught.value)) < 1000


def test_long_names_of_columns_are_shortened_in_messages(tmp_path: Path) -> None:
    (tmp_path / "news.csv").write_text(",".join(letter * 10_000 for letter in "abc") + "\n", "utf-8")

    with pytest.raises(ConfigError, match="has no column 'text'") as caught:
        load_plan(put(tmp_path, 'source = "news.csv"'))
    assert len(str(caught.value)) < 1000


def test_a_plan_that_was_stored_before_there_were_own_splits_is_the_same_plan(
    tmp_path: Path, make_plan: Callable[..., Plan]
) -> None:
    store, plan = ResultsStore(str(tmp_path)), make_plan("Frozen A")
    document = plan.model_dump(mode="json")
    for key in ("split_column", "validation_source", "test_source"):
        assert document["data"].pop(key) is None
    store.write(PurePosixPath(plan.comparison, PLAN_FILE), json.dumps(document).encode())
    store.write(RunRecords(store, plan.comparison, plan.arms[0].slug, plan.seeds[0]).result, b"{}")

    check_plan(store, plan)
    changed = plan.data.model_copy(update={"split_column": "fold"})
    with pytest.raises(PlanConflictError, match=r"data\.split_column is 'fold', was None"):
        check_plan(store, plan.model_copy(update={"data": changed}))


def test_a_remote_file_that_changed_under_one_comparison_is_refused_as_a_local_one_is(
    tmp_path: Path, make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_file(word: str, **settings: Any) -> HostedFile:  # noqa: ANN401 - fields of HostedFile
        rows = "".join(f"{word} {number},{'ab'[number % 2]}\n" for number in range(40))
        return HostedFile(HEADER + rows.encode(), **settings)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    store = ResultsStore(str(tmp_path / "results"))
    executor = open_local_executor(RunnerSettings(results=store.url, cache=str(tmp_path / "cache")), "first-try")
    with DataHost({"news.csv": make_file("bear", etag="1")}) as host:
        plan = make_plan("Frozen A").model_copy(update={"data": DataSpec(source=host.url("news.csv"))})
        assert find_data(Asker(executor, plan)) is None
        check_data(store, plan, prepare_data(Asker(executor, plan)))
        store.write(RunRecords(store, plan.comparison, plan.arms[0].slug, plan.seeds[0]).result, b"{}")
        host.files["news.csv"] = make_file("wolf", etag="2")

        with pytest.raises(PlanConflictError, match=f"the content of {host.url('news.csv')} has changed"):
            check_data(store, plan, prepare_data(Asker(executor, plan)))
