"""Comparisons in an object store: the same as in a folder, also when the store is away for a while."""

import threading
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path, PurePosixPath

import pytest
from rich.console import Console
from typer.testing import Result

from flows.comparison import ArmRun
from flows.report import redraw, write_report
from flows.status import StatusBoard, read_status
from flows.watch import Watch
from s3_server import S3Server
from worker.contract.config import PreparedData
from worker.contract.lease import LeaseHolder
from worker.contract.locks import only_run_of
from worker.contract.plan import Plan
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore

MakePlan = Callable[..., Plan]
Invoke = Callable[..., Result]


def test_a_report_of_an_object_store_is_that_of_a_folder(
    tmp_path: Path,
    s3_url: str,
    make_plan: MakePlan,
    make_run: Callable[..., ArmRun],
    put_run: Callable[[ResultsStore, ArmRun], None],
    data: PreparedData,
) -> None:
    plan = make_plan("Frozen A", "Live B")
    stores = [ResultsStore(str(tmp_path)), ResultsStore(s3_url)]
    for store in stores:
        store.write_record(PurePosixPath("first-try/plan.json"), plan)
        store.write_record(PurePosixPath("first-try/prepared/data.json"), data)
        for arm in plan.arms:
            put_run(store, make_run(plan, arm.label, [0.25, 0.5, 0.75, 0.5, 0.625]))

    write_report(stores[0], plan)
    redraw(s3_url, lambda _store, comparison: comparison)
    redraw(f"{s3_url}/first-try/", lambda _store, comparison: comparison)

    here, there = ({path: store.read(path) for path in store.walk(PurePosixPath())} for store in stores)
    assert PurePosixPath("first-try/comparison.png") in here
    assert here == there


def test_a_watch_tells_that_the_store_is_away_and_goes_on_when_it_is_back(
    s3_url: str, s3_server: S3Server, make_plan: MakePlan, wait_until: Callable[..., None]
) -> None:
    plan = make_plan("Frozen A", "Live B")
    store = ResultsStore(s3_url)
    console = Console(file=StringIO(), width=80)
    told: list[str] = []

    with Watch(store, plan, console, told.append):
        board = StatusBoard(store, plan, "run")
        s3_server.cut()
        wait_until(lambda: told, "that the store is away", seconds=20)
        s3_server.mend()
        wait_until(lambda: len(told) > 1, "that the store is back", seconds=20)
        board.enter("frozen-a", ArmState.FAILED)
        wait_until(lambda: "Frozen A: failed" in console.file.getvalue(), "the arm's state", seconds=20)  # type: ignore[attr-defined] # a StringIO

    assert told[0].startswith(f"The results store cannot be watched: {s3_url}/first-try/runs/")
    assert "Could not connect to the endpoint" in told[0]
    assert told[1:] == ["The results store can be watched again."]


def test_a_store_that_is_away_is_one_message_and_not_a_bad_plan(
    invoke: Invoke, s3_url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.report.LOOK_PATIENCE_SECONDS", 0.5)
    s3_server.cut()
    try:
        report = invoke("report", s3_url)
    finally:
        s3_server.mend()

    assert report.exit_code == 1
    away, problem, remedy = report.stderr.splitlines()
    assert away.startswith(f"The results store {s3_url} does not answer (Could not connect")
    assert problem.startswith(f"{s3_url}/plan.json cannot be read, asked for 0.5 s: Could not connect")
    assert remedy.startswith("Make sure that it answers, then run the same again")


def test_a_bucket_that_is_not_there_is_one_message(invoke: Invoke, s3_server: S3Server) -> None:
    assert s3_server
    report = invoke("report", "s3://no-such-bucket/results")

    assert report.exit_code == 1
    assert report.stderr.splitlines() == [
        "s3://no-such-bucket/results/plan.json cannot be read: The specified bucket does not exist (NoSuchBucket).",
        "Name a bucket that exists: buckets are never created here.",
    ]


@pytest.mark.full
@pytest.mark.usefixtures("prefect_server")
def test_the_whole_command_works_on_an_object_store(
    invoke: Invoke, workplace: Path, finished: Path, s3_url: str
) -> None:
    run = invoke("compare", workplace / "small.toml", "--results", s3_url, "--workers", 2)

    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines()[-1] == f"Chart: {s3_url}/small/comparison.png"
    store, folder = ResultsStore(s3_url), ResultsStore(str(finished))
    assert store.walk(PurePosixPath()) == folder.walk(PurePosixPath())
    for path in folder.walk(PurePosixPath("small")):
        if path.name in {"curve.jsonl", "predictions.jsonl", "comparison.png"}:
            assert store.read(path) == folder.read(path), path
    again = invoke("compare", workplace / "small.toml", "--results", s3_url)
    assert again.exit_code == 0, again.output
    assert "Every result is in the store; nothing to run." in again.stdout
    assert invoke("plan", workplace / "small.toml", "--results", s3_url).exit_code == 0
    assert invoke("report", f"{s3_url}/small").exit_code == 0


@pytest.mark.full
@pytest.mark.usefixtures("prefect_server")
def test_a_comparison_that_another_has_taken_stops_and_writes_nothing_more(
    invoke: Invoke, workplace: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.flow.only_run_of", partial(only_run_of, lease_seconds=2))
    other = LeaseHolder(token="other", host="elsewhere", process=7)  # noqa: S106 - no password
    is_over = threading.Event()

    def take() -> None:
        store = ResultsStore(s3_url)
        while not any(path.name == "progress.json" for path in store.walk(PurePosixPath())) and not is_over.wait(0.05):
            pass
        store.write_record(PurePosixPath("small/.lock"), other)

    thread = threading.Thread(target=take)
    thread.start()
    long = ("--set", "training.steps=100000", "--set", "training.eval_every=500")
    try:
        run = invoke("compare", workplace / "small.toml", *long, "--results", s3_url, "--workers", 2)
    finally:
        is_over.set()
        thread.join()

    assert run.exit_code == 1, run.output
    assert "is being run by another process." in run.stderr
    store = ResultsStore(s3_url)
    states = {read_status(store, "small", arm) for arm in ("live-llama", "frozen-llama", "frozen-qwen2-5")}
    assert ArmState.CANCELLED not in {status.state for status in states if status}
    assert store.read_record(PurePosixPath("small/.lock"), LeaseHolder) == other


@pytest.mark.full
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("seconds", [3, 60])
def test_a_comparison_outlives_a_silence_of_its_store(
    invoke: Invoke, workplace: Path, s3_url: str, s3_server: S3Server, seconds: int
) -> None:
    is_over = threading.Event()

    def go_away() -> None:
        store = ResultsStore(s3_url)
        while not any(path.name == "progress.json" for path in store.walk(PurePosixPath())) and not is_over.wait(0.05):
            pass
        s3_server.cut()
        is_over.wait(seconds)
        s3_server.mend()

    thread = threading.Thread(target=go_away)
    thread.start()
    try:
        run = invoke("compare", workplace / "small.toml", "--results", s3_url, "--workers", 2)
    finally:
        is_over.set()
        thread.join()

    assert run.exit_code == 0, run.output
    assert "The results store cannot be watched: " in run.stdout
    assert "The results store can be watched again." in run.stdout
    assert "Traceback" not in run.output
