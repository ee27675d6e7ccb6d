"""The worker as a process: one document in, one exit code and a few files out."""

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tiny_repositories import make_pickle_repository
from worker.__main__ import describe_failure, main, read_config
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PrepareConfig, PreparedData, RunConfig
from worker.contract.errors import ConfigError, DataError
from worker.contract.plan import DataSpec
from worker.contract.results import Failure
from worker.contract.store import RunRecords
from worker.lifecycle import Terminated

MakeConfig = Callable[..., RunConfig]
StartWorker = Callable[..., subprocess.Popen[bytes]]
Finish = Callable[..., "Ended"]


class Ended(NamedTuple):
    """A worker that has ended: its exit code, its events, and its last words."""

    exit_code: int
    events: list[dict[str, Any]]
    termination_log: Failure | None


@pytest.fixture
def finish(tmp_path: Path, events_of: Callable[[str], list[dict[str, Any]]]) -> Finish:
    """Wait for the worker of a name to end."""

    def finish(worker: subprocess.Popen[bytes], name: str = "worker") -> Ended:
        exit_code = worker.wait()
        path = tmp_path / f"{name}.termination"
        words = Failure.model_validate_json(path.read_bytes()) if path.exists() else None
        return Ended(exit_code, events_of(name), words)

    return finish


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_worker_that_is_done_leaves_its_records_and_nothing_else(
    tmp_path: Path,
    make_config: MakeConfig,
    train: Callable[[RunConfig], RunRecords],
    records_of: Callable[..., RunRecords],
    start_worker: StartWorker,
    finish: Finish,
) -> None:
    here = train(make_config(Mode.FROZEN, execution={"results": str(tmp_path / "here")}))
    config = make_config(Mode.FROZEN, seeds=(0, 3), execution={"metrics_port": 0, "flush_seconds": 0})
    ended = finish(start_worker(config))
    files = ("config.json", "curve.jsonl", "predictions.jsonl", "result.json", "attempts.jsonl")

    assert (ended.exit_code, ended.termination_log) == (0, None)
    assert files_below(tmp_path / "results") == {
        "trial/runs/frozen-llama/progress.json",
        *(f"trial/runs/frozen-llama/seed-{seed}/{name}" for seed in (0, 3) for name in files),
    }
    for seed in (0, 3):
        records = records_of(config, seed)
        (attempt,) = records.read_attempts()
        assert records.read_result() is not None
        assert (attempt.exit_code, attempt.problem) == (0, None)
        assert {"importing", "training", "writing"} <= set(attempt.seconds_by_phase)
    names = [event["event"] for event in ended.events]
    assert names[0] == "started"
    assert names[-1] == "done"
    assert names.count("finished") == 2
    assert all(event["level"] == "info" and event["timestamp"].endswith("Z") for event in ended.events)
    assert records_of(config, 0).read_curve() == here.read_curve()


def test_every_way_to_fail_has_its_code_and_says_the_same_everywhere(
    tmp_path: Path,
    make_config: MakeConfig,
    train: Callable[[RunConfig], RunRecords],
    records_of: Callable[..., RunRecords],
    start_worker: StartWorker,
    finish: Finish,
) -> None:
    train(make_config(Mode.FROZEN))  # fills the cache

    def make(name: str, execution: dict[str, str] | None = None, **training: Any) -> RunConfig:  # noqa: ANN401 - of TrainingSettings
        return make_config(Mode.FROZEN, execution={"results": str(tmp_path / name), **(execution or {})}, **training)

    exploding: dict[str, Any] = {"head_lr": 10.0, "steps": 60, "schedule": "constant", "weight_decay": 1.0}
    runs = {
        41: make("no-data", {"cache": str(tmp_path / "empty")}),
        44: make("diverges", **exploding),
        45: make("no-gpu", {"device": "cuda"}),
    }
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    workers = {code: start_worker(config, name=str(code), environment=environment) for code, config in runs.items()}
    said = {41: "is not in the cache", 44: "the loss became infinite", 45: "torch sees none"}
    for code, worker in workers.items():
        ended = finish(worker, str(code))
        (attempt,) = records_of(runs[code]).read_attempts()
        last = ended.events[-1]

        assert ended.exit_code == code, ended.events
        assert ended.termination_log is not None
        assert ended.termination_log.exit_code == attempt.exit_code == last["exit_code"] == code
        assert ended.termination_log.problem == attempt.problem == last["problem"]
        assert ended.termination_log.remedy == attempt.remedy == last["remedy"]
        assert said[code] in ended.termination_log.problem
        assert attempt.ended_at is not None
        assert (last["event"], last["level"]) == ("failed", "error")
        assert "exception" not in last
        assert records_of(runs[code]).read_result() is None


def test_a_backbone_without_safetensors_ends_its_prepare_step_with_code_42(
    tmp_path: Path,
    make_config: MakeConfig,
    data: PreparedData,
    data_spec: DataSpec,
    start_worker: StartWorker,
    finish: Finish,
) -> None:
    folder = make_pickle_repository(tmp_path / "pickled")
    config = PrepareConfig(
        comparison="trial",
        name="p",
        answer="p.json",
        data=data_spec,
        backbone=BackboneSpec(source=str(folder)),
        prepared_data=data,
        execution=make_config(Mode.FROZEN).execution,
    )
    ended = finish(start_worker(config))

    assert ended.exit_code == 42
    assert ended.termination_log is not None
    assert "pickle files are never loaded" in ended.termination_log.problem
    assert not (tmp_path / "results").exists()


def test_a_document_that_is_not_valid_ends_with_code_40_and_names_the_field(
    tmp_path: Path, make_config: MakeConfig, start_worker: StartWorker, finish: Finish
) -> None:
    document = json.loads(make_config(Mode.FROZEN).model_dump_json())
    document["training"]["stepz"] = 5
    ended = finish(start_worker(json.dumps(document)))

    assert ended.exit_code == 40
    assert ended.termination_log is not None
    assert "training.stepz: Extra inputs are not permitted" in ended.termination_log.problem
    assert not (tmp_path / "results").exists()


def test_an_unforeseen_end_is_code_1_with_its_traceback_in_the_log(
    make_config: MakeConfig, start_worker: StartWorker, finish: Finish
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = make_config(Mode.FROZEN, execution={"metrics_port": taken.getsockname()[1]})
        ended = finish(start_worker(config))

    assert ended.exit_code == 1
    assert ended.termination_log is not None
    assert ended.termination_log.problem.startswith("OSError: [Errno 98] Address already in use")
    assert ended.events[-1]["exception"][0]["exc_type"] == "OSError"


def test_a_store_that_cannot_be_used_is_code_1_with_one_message(
    tmp_path: Path, make_config: MakeConfig, start_worker: StartWorker, finish: Finish
) -> None:
    (tmp_path / "file").touch()
    config = make_config(Mode.FROZEN, execution={"results": str(tmp_path / "file" / "results")})
    ended = finish(start_worker(config))

    assert ended.exit_code == 1
    assert ended.termination_log is not None
    assert ended.termination_log.problem.endswith("seed-0/config.json cannot be written: Not a directory.")
    assert ended.termination_log.remedy.startswith("Check --results: something else lies there")
    assert "exception" not in ended.events[-1]


def test_last_words_are_no_longer_than_what_kubernetes_keeps_of_them(
    tmp_path: Path, start_worker: StartWorker, finish: Finish
) -> None:
    ended = finish(start_worker(json.dumps({"kind": "ü" * 5000})))
    assert ended.exit_code == 40
    assert ended.termination_log is not None
    assert ended.termination_log.problem.startswith("The worker's document is not valid: ")
    assert (tmp_path / "worker.termination").stat().st_size <= 4096


def test_a_termination_log_that_cannot_be_written_does_not_change_the_exit_code(
    tmp_path: Path, start_worker: StartWorker
) -> None:
    (tmp_path / "worker.termination").mkdir()

    assert start_worker("{}").wait() == 40


def test_the_document_is_read_from_a_file_or_from_the_environment(tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config(Mode.FROZEN)
    path = tmp_path / "run.json"
    path.write_text(config.model_dump_json(), "utf-8")

    assert read_config(path, {}) == config
    assert read_config(path, {"FREEZE_BENCH_CONFIG": "{}"}) == config
    assert read_config(None, {"FREEZE_BENCH_CONFIG": config.model_dump_json()}) == config


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "The worker was told nothing"),
        ("", "the document: Invalid JSON"),
        ("{}", "Unable to extract tag"),
        ('{"kind": "run"}', "run.comparison: Field required"),
        ('{"kind": "prepare", "name": "p"}', "prepare.comparison: Field required"),
    ],
)
def test_what_is_no_document_is_a_config_error_that_says_so(document: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_config(None, {} if document is None else {"FREEZE_BENCH_CONFIG": document})


def test_a_document_that_is_not_there_is_a_config_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json cannot be read: No such file"):
        read_config(tmp_path / "none.json", {})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("It is empty.", remedy="Fill it."), (41, "It is empty.", "Fill it.")),
        (Terminated("SIGTERM"), (143, "The worker was stopped (SIGTERM).", "Start it again.")),
        (KeyError("x"), (1, "KeyError: 'x'", "Unexpected: the worker's log has the traceback. It may be retried.")),
    ],
)
def test_an_error_is_told_as_code_problem_and_remedy(error: BaseException, expected: tuple[int, str, str]) -> None:
    failure = describe_failure(error)

    assert (failure.exit_code, failure.problem, failure.remedy) == expected


def test_the_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out

    assert all(f"{code} " in text for code in (40, 41, 42, 43, 44, 45, 143))
    assert "FREEZE_BENCH_CONFIG" in text
