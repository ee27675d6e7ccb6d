"""Sources that are not what they were: files of the same size and time, classes held back, caches that lost a part."""

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from data_host import DataHost, HostedFile
from hub_server import HubServer
from worker.backbone import prepare_backbone
from worker.contract.arms import BackboneSpec
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData
from worker.contract.errors import DataError, SourceChangedError
from worker.contract.local_files import write_file_atomically
from worker.contract.plan import DataSpec
from worker.contract.records import canonical_json, content_hash
from worker.contract.store import ResultsStore
from worker.data import load_split, prepare_data
from worker.hub_tables import load_hub_tables
from worker.splits import SPLITS
from worker.tables import Table, open_table
from worker.tiny import tiny_recipe

EventsOf = Callable[..., list[dict[str, Any]]]
CLASSES = ("no", "yes")
HELD_BACK = -1


def write_csv(path: Path, word: str) -> DataSpec:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("text", "label"))
        rows.writerows((f"{word} {number:02}", CLASSES[number % 2]) for number in range(20))
    return DataSpec(source=str(path))


def prepare(spec: DataSpec, cache: Path) -> PreparedData:
    prepared = prepare_data(spec, cache)
    assert prepared is not None
    return prepared


def texts(cache: Path, data: PreparedData) -> set[str]:
    return {example.text for split in SPLITS for example in load_split(cache, data, split)}


def test_other_rows_in_a_file_of_the_same_path_size_and_time_are_another_data_set(tmp_path: Path) -> None:
    path, cache = tmp_path / "news.csv", tmp_path / "cache"
    first = prepare(write_csv(path, "bear"), cache)
    before = path.stat()
    write_csv(path, "wolf")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    second = prepare(DataSpec(source=str(path)), cache)

    assert second.digest != first.digest
    assert second.revision != first.revision
    assert texts(cache, second) == {f"wolf {number:02}" for number in range(20)}
    assert texts(cache, first) == {f"bear {number:02}" for number in range(20)}


@pytest.mark.parametrize("lost", ["", *SPLITS, *(f"part of {split}" for split in SPLITS)])
def test_a_cache_that_lost_a_data_set_is_healed_by_the_next_prepare(tmp_path: Path, lost: str) -> None:
    cache = tmp_path / "cache"
    spec = write_csv(tmp_path / "news.csv", "bear")
    first = prepare(spec, cache)
    folder = cache / "data" / first.digest
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(whole) == {f"{split}.jsonl" for split in SPLITS}
    if lost.startswith("part of "):
        path = folder / f"{lost.removeprefix('part of ')}.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    elif lost:
        (folder / f"{lost}.jsonl").unlink()
    else:
        shutil.rmtree(folder)

    assert prepare_data(spec, cache, only_look=True) is None
    assert prepare(spec, cache) == first
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert prepare_data(spec, cache, only_look=True) == first


def test_a_split_that_lost_rows_is_not_read(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    data = prepare(write_csv(tmp_path / "news.csv", "bear"), cache)
    path = cache / "data" / data.digest / "train.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))

    with pytest.raises(DataError, match=f"has 5 examples in the cache, {data.num_examples.train} were prepared"):
        load_split(cache, data, "train")


@pytest.mark.parametrize("lost", ["", "config.json", "model.safetensors"])
def test_a_tiny_backbone_that_lost_a_part_is_not_in_the_cache(tmp_path: Path, data: PreparedData, lost: str) -> None:
    spec = BackboneSpec(source="tiny:qwen3")
    answer = PreparedBackbone(kind="tiny", source=spec.source, revision="r", model_type="qwen3")
    request = content_hash({"recipe": canonical_json(tiny_recipe("qwen3")), "data": data.digest})
    write_file_atomically(tmp_path / "backbones/requests" / f"{request}.json", answer.model_dump_json().encode())
    for name in ("config.json", "model.safetensors"):
        write_file_atomically(tmp_path / "backbones/r" / name, b"{}")
    assert prepare_backbone(spec, data, tmp_path, only_look=True) == answer

    if lost:
        (tmp_path / "backbones/r" / lost).unlink()
    else:
        shutil.rmtree(tmp_path / "backbones/r")

    assert prepare_backbone(spec, data, tmp_path, only_look=True) is None


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_file_that_changes_while_it_is_read_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_whole: bool
) -> None:
    path, cache = tmp_path / "news.csv", tmp_path / "cache"
    spec = write_csv(path, "bear")

    def open_changed(*arguments: Any) -> Table:  # noqa: ANN401 - open_table's own
        write_csv(path, "wolf")
        path.write_bytes(path.read_bytes() + (b"" if is_whole else b'"half'))
        return open_table(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("worker.sources.open_table", open_changed)
        with pytest.raises(SourceChangedError, match=r"news\.csv changed while it was read") as caught:
            prepare(spec, cache)

    assert not caught.value.exit_code.is_permanent
    assert not cache.exists()
    write_csv(path, "wolf")
    assert texts(cache, prepare(spec, cache)) == {f"wolf {number:02}" for number in range(20)}


@pytest.mark.parametrize(
    "files", ["{outside}/*.csv", "../outside/news.csv", "{host}", "data/*.csv"], ids=["absolute", "above", "remote", ""]
)
def test_a_readme_that_names_files_outside_of_its_commit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: str
) -> None:
    commit, outside = tmp_path / "commit", tmp_path / "outside"
    for folder in (commit / "data", outside):
        folder.mkdir(parents=True)
        write_csv(folder / "news.csv", folder.name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("worker.hub_tables.fetch_dataset", lambda *_: commit)  # as if fetched from the hub
    spec = DataSpec(source="acme/news")

    with DataHost({"news.csv": HostedFile((outside / "news.csv").read_bytes())}) as host:
        named = files.format(outside=outside, host=host.url("news.csv"))
        readme = f"---\nconfigs:\n- config_name: default\n  data_files: '{named}'\n---\n"
        (commit / "README.md").write_text(readme, "utf-8")
        if "data" in files:
            (table,) = load_hub_tables(spec, "c" * 40, tmp_path / "cache")
            assert next(table.rows).text == "data 00"
            return
        with pytest.raises(DataError, match=r"The README of acme/news names .*news\.csv, which lies outside"):
            load_hub_tables(spec, "c" * 40, tmp_path / "cache")


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path, hub_server: HubServer, start_worker: Start) -> Start:
    """Start a worker that prepares a backbone or a data set of the hub, and answers under a name."""

    def start(name: str, source: BackboneSpec | DataSpec, data: PreparedData | None = None) -> subprocess.Popen[bytes]:
        config = PrepareConfig(
            comparison="trial",
            name=name,
            answer=f"{name}.json",
            data=source if isinstance(source, DataSpec) else DataSpec(source="builtin:language-names"),
            backbone=source if isinstance(source, BackboneSpec) else None,
            prepared_data=data,
            execution=Execution(results=str(tmp_path / "results"), cache=str(tmp_path / "cache")),
        )
        return start_worker(config, name=name, environment=hub_server.environment(tmp_path / "hf"))

    return start


def test_a_backbone_of_the_hub_whose_files_are_gone_is_fetched_again(
    tmp_path: Path, hub_server: HubServer, backbone_folder: Path, data: PreparedData, start: Start
) -> None:
    hub_server.add_model("acme/base", backbone_folder)
    spec = BackboneSpec(source="acme/base")
    assert start("first", spec, data).wait() == 0
    assert hub_server.downloads["acme/base", "model.safetensors"] == 1
    shutil.rmtree(tmp_path / "cache" / "hub")

    assert start("again", spec, data).wait() == 0

    assert hub_server.downloads["acme/base", "model.safetensors"] == 2
    store = ResultsStore(str(tmp_path / "results"))
    answers = [store.read(PurePosixPath(f"{name}.json")) for name in ("first", "again")]
    assert answers[0] is not None
    assert answers[0] == answers[1]
    assert len(list((tmp_path / "cache" / "hub").rglob("model.safetensors"))) == 1


def parquet(word: str, targets: Sequence[int]) -> bytes:
    """Return a table as ``datasets`` publishes it: the classes are named, -1 is a class that is held back."""
    import datasets  # noqa: PLC0415 - two seconds

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=CLASSES)})
    columns = {"text": [f"{word} {number}" for number in range(len(targets))], "label": list(targets)}
    buffer = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(buffer)
    return buffer.getvalue()


def test_a_test_split_whose_classes_are_held_back_is_drawn_from_train_and_a_single_one_is_an_error(
    tmp_path: Path, hub_server: HubServer, start: Start, events_of: EventsOf
) -> None:
    known, unknown = [0, 1] * 20, [HELD_BACK] * 10
    tables = {
        "held": {"train": known, "validation": known[:10], "test": unknown},
        "hole": {"train": [*known[:4], HELD_BACK, *known], "test": unknown},
        "part": {"train": known, "test": [0, 1, HELD_BACK]},
    }
    for name, splits in tables.items():
        contents = {f"data/{split}-00000-of-00001.parquet": parquet(split, rows) for split, rows in splits.items()}
        hub_server.add_dataset(f"acme/{name}", contents)
    workers = {name: start(name, DataSpec(source=f"acme/{name}")) for name in tables}

    assert {name: worker.wait() for name, worker in workers.items()} == {"held": 0, "hole": 41, "part": 41}
    data = ResultsStore(str(tmp_path / "results")).read_record(PurePosixPath("held.json"), PreparedData)
    assert data is not None
    assert data.classes == CLASSES
    words = {
        split: {example.text.split()[0] for example in load_split(tmp_path / "cache", data, split)} for split in SPLITS
    }
    assert words == {"train": {"train"}, "validation": {"validation"}, "test": {"train"}}
    for name, where, total in (("hole", "train row 5", 45), ("part", "test row 3", 3)):
        assert (
            events_of(name)[-1]["problem"]
            == f"acme/{name}, {where}: column 'label' holds no class; 1 of {total} rows have none."
        )
