"""Where a flow run keeps results and cache, and how its workers are run."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from worker.contract.config import Device
from worker.contract.records import Record

RESULTS_ENV = "FREEZE_BENCH_RESULTS"
CACHE_ENV = "FREEZE_BENCH_CACHE"
DEVICE_ENV = "FREEZE_BENCH_DEVICE"
EXECUTOR_ENV = "FREEZE_BENCH_EXECUTOR"
CHECK_MEMORY_ENV = "FREEZE_BENCH_CHECK_MEMORY"

ExecutorKind = Literal["local", "kubernetes"]


def default_results() -> str:
    """Return the results store of this environment: ``$FREEZE_BENCH_RESULTS``, or the folder ``out``."""
    return os.environ.get(RESULTS_ENV) or "out"


def default_cache() -> str:
    """Return the cache of this environment: ``$FREEZE_BENCH_CACHE``, or ``freeze-bench`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return os.environ.get(CACHE_ENV) or str(Path(base, "freeze-bench"))


def default_device() -> str:
    """Return what workers of this environment compute on: ``$FREEZE_BENCH_DEVICE``, or ``auto``."""
    return os.environ.get(DEVICE_ENV) or "auto"


def default_executor() -> str:
    """Return how workers of this environment are started: ``$FREEZE_BENCH_EXECUTOR``, or ``local``."""
    return os.environ.get(EXECUTOR_ENV) or "local"


def default_check_memory() -> str:
    """Return whether arms that no GPU here can hold are refused: ``$FREEZE_BENCH_CHECK_MEMORY``, or ``true``."""
    return os.environ.get(CHECK_MEMORY_ENV) or "true"


def absolute_location(url: str) -> str:
    """Return a folder or an fsspec URL as every process of this machine understands it, whatever its folder is."""
    return url if "://" in url else str(Path(url).expanduser().resolve())


class RunnerSettings(Record):
    """How the arms of a comparison are run. Changes no curve."""

    results: str = Field(default_factory=default_results, description="Results store: a folder or any fsspec URL.")
    cache: str = Field(default_factory=default_cache, description="Folder for data, backbones, features and logs.")
    device: Device = Field(
        default_factory=default_device, validate_default=True, description="auto takes a GPU where there is one."
    )
    executor: ExecutorKind = Field(
        default_factory=default_executor,
        validate_default=True,
        description="local runs workers as processes of this machine, kubernetes as Jobs of the release.",
    )
    num_workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Workers at once; by default one per GPU, without GPUs two at most, and as Jobs as many as the "
        "cluster has room for.",
    )
    check_memory: bool = Field(
        default_factory=default_check_memory,
        validate_default=True,
        description="Refuse an arm before it gets a GPU, if the memory that it needs by estimate is more than any has.",
    )
