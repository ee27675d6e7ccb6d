"""One small data set, one tiny backbone, and arms of them: in this process, or as workers of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from worker.__main__ import run
from worker.backbone import prepare_backbone
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import (
    RUN_CONFIG_ENV,
    TERMINATION_LOG_ENV,
    Execution,
    PrepareConfig,
    PreparedBackbone,
    PreparedData,
    RunConfig,
)
from worker.contract.plan import LANGUAGE_NAMES, DataSpec, TrainingSettings
from worker.contract.store import ResultsStore, RunRecords
from worker.data import prepare_data

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0
"""For what comes within a second or two on a machine that is not overloaded."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that arms share; tests that count what is in one take their own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def data_spec() -> DataSpec:
    return DataSpec(source=LANGUAGE_NAMES, train_examples=160, validation_examples=40, test_examples=40)


@pytest.fixture(scope="session")
def data(cache: Path, data_spec: DataSpec) -> PreparedData:
    prepared = prepare_data(data_spec, cache)
    assert prepared is not None
    return prepared


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama with random weights and its own tokenizer, as a local folder."""
    from tiny_repositories import make_repository  # noqa: PLC0415 - seconds: the contract's tests need no torch

    return make_repository(tmp_path_factory.mktemp("backbones") / "llama", "llama")


@pytest.fixture(scope="session")
def backbone(backbone_folder: Path, data: PreparedData, cache: Path) -> PreparedBackbone:
    prepared = prepare_backbone(BackboneSpec(source=str(backbone_folder)), data, cache)
    assert prepared is not None
    return prepared


@pytest.fixture
def make_config(
    tmp_path: Path, cache: Path, data: PreparedData, backbone: PreparedBackbone
) -> Callable[..., RunConfig]:
    """An arm that is trained in a fraction of a second; settings and execution may be told otherwise."""

    def make(
        mode: Mode,
        *,
        seeds: tuple[int, ...] = (0,),
        backbone: PreparedBackbone = backbone,
        execution: Mapping[str, Any] | None = None,
        **training: Any,  # noqa: ANN401 - fields of TrainingSettings
    ) -> RunConfig:
        settings = {
            "steps": 12,
            "batch_size": 8,
            "max_tokens": 48,
            "warmup_steps": 3,
            "head_lr": 0.03,
            "backbone_lr": 1e-3 if mode is Mode.LIVE else (),
        }
        surroundings = {
            "results": str(tmp_path / "results"),
            "cache": str(cache),
            "device": "cpu",
            "num_threads": 1,
            "metrics_port": None,
        }
        return RunConfig(
            comparison="trial",
            arm=Arm(label=f"{mode} llama", backbone=BackboneSpec(source=backbone.source), mode=mode),
            seeds=seeds,
            data=data,
            backbone=backbone,
            training=TrainingSettings.model_validate(settings | training),
            execution=Execution.model_validate(surroundings | dict(execution or {})),
        )

    return make


@pytest.fixture
def records_of() -> Callable[..., RunRecords]:
    """Where the worker of a config puts the records of one seed."""

    def find(config: RunConfig, seed: int = 0) -> RunRecords:
        return RunRecords(ResultsStore(config.execution.results), config.comparison, config.arm.slug, seed)

    return find


@pytest.fixture
def train(records_of: Callable[..., RunRecords]) -> Callable[[RunConfig], RunRecords]:
    """Train an arm in this process and return the records of its first seed."""

    def train(config: RunConfig) -> RunRecords:
        run(config)
        return records_of(config, config.seeds[0])

    return train


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    return wait


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start ``python -m worker`` under a name; what is left running in the end is killed."""
    workers: list[subprocess.Popen[bytes]] = []

    def start(
        config: RunConfig | PrepareConfig | str,
        *,
        name: str = "worker",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        document = config if isinstance(config, str) else config.model_dump_json()
        told = {RUN_CONFIG_ENV: document, TERMINATION_LOG_ENV: str(tmp_path / f"{name}.termination")}
        with (tmp_path / f"{name}.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                cwd=REPOSITORY,
                env={**(os.environ if environment is None else environment), **told},
                stdin=subprocess.DEVNULL,
                stdout=log,
            )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


@pytest.fixture
def events_of(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """What the worker of a name has logged so far."""

    def read(name: str = "worker") -> list[dict[str, Any]]:
        whole, _, _ = (tmp_path / f"{name}.log").read_text("utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    return read


@pytest.fixture
def wait_for_event(
    events_of: Callable[..., list[dict[str, Any]]], wait_until: Callable[[Callable[[], bool]], None]
) -> Callable[..., dict[str, Any]]:
    """Wait until a worker has logged an event with the values given, and return it."""

    def wait(worker: str = "worker", **values: str) -> dict[str, Any]:
        def find() -> list[dict[str, Any]]:
            return [event for event in events_of(worker) if values.items() <= event.items()]

        wait_until(lambda: bool(find()))
        return find()[0]

    return wait
