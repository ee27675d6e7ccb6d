"""Fetching: a comparison that was made elsewhere, whole on this disk, and nothing else touched."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import fsspec
import pytest
from typer.testing import Result

from flows.collect import read_run
from flows.comparison import ArmRun
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore, RunRecords

Invoke = Callable[..., Result]


@pytest.fixture
def remote(finished: Path) -> Iterator[str]:
    """The first run's results in an object store."""
    memory = fsspec.filesystem("memory")
    memory.put(str(finished), "/remote", recursive=True)
    yield "memory://remote"
    memory.rm("/remote", recursive=True)


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but the lock."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def fetch(invoke: Invoke, remote: object, to: Path, name: str = "small") -> Result:
    return invoke("fetch", name, "--results", remote, "--to", to)


def test_every_file_arrives_with_its_bytes(invoke: Invoke, remote: str, finished: Path, tmp_path: Path) -> None:
    done = fetch(invoke, remote, tmp_path, "Small")

    assert done.exit_code == 0, done.stderr
    fetched = files(tmp_path / "small")
    assert fetched.pop("fetched.json") == b'{\n  "results": "memory://remote"\n}\n'
    assert fetched == files(finished / "small")
    assert done.stdout.endswith(f"Draw it: freeze-bench report {tmp_path}/small\n")


def test_what_was_fetched_can_be_drawn(invoke: Invoke, remote: str, tmp_path: Path) -> None:
    fetch(invoke, remote, tmp_path)

    assert invoke("report", tmp_path / "small").exit_code == 0


def test_the_same_command_again_takes_only_what_is_missing_torn_or_new(
    invoke: Invoke, remote: str, finished: Path, tmp_path: Path
) -> None:
    fetch(invoke, remote, tmp_path)
    assert "Fetched Small: 0 files" in fetch(invoke, remote, tmp_path).stdout
    run = tmp_path / "small" / "runs" / "frozen-llama" / "seed-0"
    (run / "curve.jsonl").write_bytes((run / "curve.jsonl").read_bytes()[:-9])
    (run / "predictions.jsonl").unlink()
    fsspec.filesystem("memory").pipe_file("/remote/small/runs/new/seed-0/curve.jsonl", b"{}\n")

    again = fetch(invoke, remote, tmp_path)

    assert "Fetched Small: 3 files" in again.stdout
    assert (run / "curve.jsonl").read_bytes() == (finished / run.relative_to(tmp_path) / "curve.jsonl").read_bytes()
    assert (run / "predictions.jsonl").exists()


def test_whole_runs_are_not_read_again(
    invoke: Invoke, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(invoke, remote, tmp_path)
    read: list[str] = []
    memory = type(fsspec.filesystem("memory"))
    cat_file = memory.cat_file

    def note(self: object, path: str, *args: object, **more: object) -> bytes:
        read.append(path)
        return bytes(cat_file(self, path, *args, **more))

    monkeypatch.setattr(memory, "cat_file", note)

    fetch(invoke, remote, tmp_path)

    assert [path for path in read if path.endswith(("curve.jsonl", "predictions.jsonl"))] == []
    assert [path for path in read if path.endswith("result.json")] != []


def test_results_come_after_what_they_are_made_of(
    invoke: Invoke, remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted fetch never leaves a result without its curve."""
    memory = type(fsspec.filesystem("memory"))
    cat_file = memory.cat_file

    results: list[str] = []

    def break_at_second_result(self: object, path: str, *args: object, **more: object) -> bytes:
        if path.endswith("result.json"):
            results.append(path)
            if len(results) > 1:
                raise KeyboardInterrupt
        return bytes(cat_file(self, path, *args, **more))

    with monkeypatch.context() as broken:
        broken.setattr(memory, "cat_file", break_at_second_result)
        assert fetch(invoke, remote, tmp_path).exit_code == 130
    (result,) = tmp_path.rglob("result.json")
    assert {path.name for path in result.parent.iterdir()} >= {"curve.jsonl", "predictions.jsonl"}
    assert len(list(tmp_path.rglob("curve.jsonl"))) == 6
    assert not list(tmp_path.rglob("comparison.*"))

    assert fetch(invoke, remote, tmp_path).exit_code == 0


@pytest.fixture
def redone(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], put_run: Callable[[ResultsStore, ArmRun], None]
) -> Iterator[tuple[ResultsStore, Callable[[list[float]], None]]]:
    """A store with one run, and how to make that run again there with another curve."""
    store, plan = ResultsStore("memory://redone"), make_plan("Frozen A")
    store.write_record(PurePosixPath("first-try/plan.json"), plan)

    def make(accuracies: list[float]) -> None:
        put_run(store, make_run(plan, "Frozen A", accuracies))

    make([0.25, 0.5, 0.75, 0.5, 0.625])
    yield store, make
    fsspec.filesystem("memory").rm("/redone", recursive=True)


def test_a_run_that_is_made_again_while_it_is_fetched_arrives_whole(
    invoke: Invoke,
    redone: tuple[ResultsStore, Callable[[list[float]], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, make = redone
    memory = type(fsspec.filesystem("memory"))
    cat_file = memory.cat_file
    read: list[str] = []

    def make_again_after_the_curve(self: object, path: str, *args: object, **more: object) -> bytes:
        content = bytes(cat_file(self, path, *args, **more))
        if path.endswith("curve.jsonl") and not read:
            read.append(path)
            make([0.25, 0.5, 0.75, 0.5, 0.875])
        return content

    monkeypatch.setattr(memory, "cat_file", make_again_after_the_curve)

    done = fetch(invoke, store.url, tmp_path, "first-try")

    assert done.exit_code == 0, done.stderr
    run = read_run(RunRecords(ResultsStore(str(tmp_path)), "first-try", "frozen-a", 0))
    assert run is not None
    assert run.curve[-1].validation_accuracy == 0.875


def test_a_run_that_is_torn_in_the_store_is_named(
    invoke: Invoke, redone: tuple[ResultsStore, Callable[[list[float]], None]], tmp_path: Path
) -> None:
    store, _ = redone
    store.write(PurePosixPath("first-try/runs/frozen-a/seed-0/curve.jsonl"), b"")

    torn = fetch(invoke, store.url, tmp_path, "first-try")

    assert torn.exit_code == 1
    assert f"1 runs are not whole: {tmp_path}/first-try/runs/frozen-a/seed-0." in torn.stderr


def test_a_plan_of_another_name_is_not_fetched_over_the_comparison_of_that_name(
    invoke: Invoke, remote: str, copied: Path
) -> None:
    memory = fsspec.filesystem("memory")
    memory.mv("/remote/small", "/remote/small-old", recursive=True)
    before = files(copied)

    refused = fetch(invoke, remote, copied, "small-old")

    assert refused.exit_code == 1
    assert "small-old/plan.json is not the plan of a comparison named 'small-old'." in refused.stderr
    assert files(copied) == before


@pytest.mark.full
@pytest.mark.usefixtures("prefect_server")
def test_a_fetched_comparison_that_was_run_here_since_is_never_written_over(
    invoke: Invoke, remote: str, workplace: Path, tmp_path: Path
) -> None:
    fetch(invoke, remote, tmp_path)
    (tmp_path / "small" / "runs" / "frozen-llama" / "seed-0" / "result.json").unlink()
    run = invoke("compare", workplace / "small.toml", "--results", tmp_path)
    assert run.exit_code == 0, run.output
    before = files(tmp_path)

    refused = fetch(invoke, remote, tmp_path)

    assert refused.exit_code == 2
    assert "one that was made here." in refused.stderr
    assert files(tmp_path) == before


def test_a_comparison_that_was_made_here_is_never_written_over(invoke: Invoke, remote: str, copied: Path) -> None:
    before = files(copied)

    refused = fetch(invoke, remote, copied)

    assert refused.exit_code == 2
    assert "holds another comparison of this name, one that was made here." in refused.stderr
    assert "--to" in refused.stderr
    assert files(copied) == before


def test_a_comparison_from_another_store_is_never_written_over(
    invoke: Invoke, remote: str, finished: Path, tmp_path: Path
) -> None:
    fetch(invoke, finished, tmp_path / "to")
    before = files(tmp_path)

    refused = fetch(invoke, remote, tmp_path / "to")

    assert refused.exit_code == 2
    assert f"one from {finished}." in refused.stderr
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["unknown", "", "..", "small/runs"])
def test_an_unknown_name_is_refused_and_leaves_nothing(invoke: Invoke, remote: str, tmp_path: Path, name: str) -> None:
    refused = fetch(invoke, remote, tmp_path / "to", name)

    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"There is no comparison {name!r} in {remote}.")
    assert not (tmp_path / "to").exists()


def test_a_store_is_not_fetched_into_itself(invoke: Invoke, copied: Path) -> None:
    refused = fetch(invoke, copied, copied)

    assert refused.exit_code == 2
    assert "is the results store itself." in refused.stderr
