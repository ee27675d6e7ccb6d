"""An arm that no GPU can hold: refused in the real flow before it gets one, while the others go on.

The machine has a GPU as far as its driver says; torch sees none, so that a worker that is started for it ends at once.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from flows.outlook import look_ahead_with_estimates
from flows.plan_file import load_plan
from flows.settings import RunnerSettings
from flows.status import read_status
from worker.contract.arms import Mode
from worker.contract.errors import ExitCode
from worker.contract.estimate import format_bytes
from worker.contract.results import ArmState, ArmStatus
from worker.contract.store import ResultsStore, RunRecords

MIB = 2**20


@pytest.fixture(scope="module")
def pair_plan(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One seed of a live and a frozen arm on one backbone."""
    text = (workplace / "small.toml").read_text("utf-8").replace("news.csv", f"{workplace}/news.csv")
    text = text.replace("./backbones", f"{workplace}/backbones").replace("Small", "Pair").replace("[0, 1]", "[0]")
    text = text.replace("batch_size = 16", "batch_size = 64")  # a live arm's peak is then far above a frozen one's
    path = tmp_path_factory.mktemp("pair") / "pair.toml"
    path.write_text(text.rpartition("[[arms]]")[0], "utf-8")
    return path


@pytest.fixture(scope="module")
def peaks(pair_plan: Path, cache: Path, finished: Path) -> dict[Mode, int]:
    """What each arm needs by estimate, with data and tokens that are in the cache."""
    assert finished
    settings = RunnerSettings(results=str(pair_plan.parent / "none"), cache=str(cache), device="cuda")
    outlooks = look_ahead_with_estimates(load_plan(pair_plan), settings)
    return {outlook.arm.mode: outlook.estimate.memory.peak for outlook in outlooks if outlook.estimate}


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results"))


@pytest.fixture
def small_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peaks: dict[Mode, int]) -> int:
    """The driver lists one GPU that holds the frozen arm and not the live one; returns its memory in MiB."""
    mebibytes = -(-peaks[Mode.FROZEN] // MIB)
    assert mebibytes * MIB < peaks[Mode.LIVE]
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\ncase "$*" in *memory*) echo {mebibytes};; *) echo 0;; esac\n', "utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return mebibytes


def status(store: ResultsStore, arm: str) -> ArmStatus:
    found = read_status(store, "pair", arm)
    assert found is not None
    return found


@pytest.mark.usefixtures("prefect_server")
def test_an_arm_that_no_gpu_holds_is_refused_and_the_others_go_on(
    pair_plan: Path, store: ResultsStore, small_gpu: int, peaks: dict[Mode, int], invoke: Callable[..., Result]
) -> None:
    result = invoke("compare", pair_plan, "--results", store.url, "--device", "cuda")

    refused, started = status(store, "live-llama").failure, status(store, "frozen-llama").failure
    assert result.exit_code == 1, result.output
    assert status(store, "live-llama").queued_at is None
    assert refused is not None
    assert refused.exit_code == ExitCode.OUT_OF_DEVICE_MEMORY
    assert refused.problem.startswith(f"Live Llama needs {format_bytes(peaks[Mode.LIVE])} of memory (")
    assert refused.problem.endswith(f"), and a GPU here has {small_gpu:.2f} MiB.")
    assert "training.batch_size (now 64)" in refused.remedy
    assert RunRecords(store, "pair", "live-llama", 0).read_attempts() == []
    assert started is not None
    assert started.exit_code == ExitCode.DEVICE


@pytest.mark.usefixtures("prefect_server", "small_gpu")
def test_whoever_knows_better_runs_it_all_the_same(
    pair_plan: Path, store: ResultsStore, invoke: Callable[..., Result]
) -> None:
    invoke("compare", pair_plan, "--results", store.url, "--device", "cuda", "--no-memory-check")

    started = status(store, "live-llama").failure
    assert started is not None
    assert started.exit_code == ExitCode.DEVICE


@pytest.mark.usefixtures("prefect_server", "small_gpu")
def test_a_gpu_says_nothing_of_an_arm_that_computes_on_the_cpu(
    pair_plan: Path, store: ResultsStore, invoke: Callable[..., Result]
) -> None:
    result = invoke("compare", pair_plan, "--results", store.url)

    assert result.exit_code == 0, result.output
    assert status(store, "live-llama").state is ArmState.DONE


@pytest.mark.parametrize(("value", "is_checked"), [(None, True), ("", True), ("false", False), ("0", False)])
def test_the_environment_decides_where_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch, value: str | None, *, is_checked: bool
) -> None:
    monkeypatch.delenv("FREEZE_BENCH_CHECK_MEMORY", raising=False)
    if value is not None:
        monkeypatch.setenv("FREEZE_BENCH_CHECK_MEMORY", value)

    assert RunnerSettings().check_memory is is_checked
    assert RunnerSettings(check_memory=True).check_memory is True
