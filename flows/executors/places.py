"""Places: how many workers run at once on this machine, and what of it each one gets."""

import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.contract.errors import DeviceError

MAX_CPU_WORKERS = 2
"""Workers at once without a GPU. More of them would each hold a model in memory and share the same cores."""

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


@dataclass(frozen=True, slots=True)
class Place:
    """A share of the machine that one worker has to itself."""

    num_threads: int
    gpu: str | None = None
    """Index or UUID for ``CUDA_VISIBLE_DEVICES``; None for a worker on the CPU."""


def divide_machine(num_workers: int | None, *, may_use_gpus: bool) -> list[Place]:
    """Divide cores and GPUs.

    Args:
        num_workers: Workers at once; by default one per GPU, or without GPUs two at most.
        may_use_gpus: Whether workers are given GPUs.

    Returns:
        One place per worker. Threads are divided, because torch processes that share cores wait for each other.
    """
    gpus = _visible_gpus() if may_use_gpus else []
    cores = available_cores()
    count = num_workers or len(gpus) or min(MAX_CPU_WORKERS, cores)
    threads = max(1, cores // count)
    return [Place(threads, gpus[index % len(gpus)] if gpus else None) for index in range(count)]


def available_cores() -> int:
    """Return the cores this process may use: its affinity, bounded by the container's CPU limit."""
    return max(1, int(min(len(os.sched_getaffinity(0)), _cpu_limit())))


def _cpu_limit() -> float:
    """Return the control group's limit in cores; infinite without one. Source: Linux, cgroup-v2 and cfs bandwidth."""
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text(encoding="ascii").split()
        else:
            quota = (_CGROUP_V1 / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (_CGROUP_V1 / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if quota.strip() not in {"max", "-1"} else math.inf
    except (OSError, ValueError):
        return math.inf


def largest_gpu_memory(places: Sequence[Place]) -> int | None:
    """Return the bytes of this machine's largest GPU; None if no place has one, or the driver does not say.

    Of all GPUs, because ``CUDA_VISIBLE_DEVICES`` may count them in another order than the driver does.
    """
    if all(place.gpu is None for place in places):
        return None
    try:
        answer = _ask_driver("--query-gpu=memory.total", "--format=csv,noheader,nounits") or ""
    except DeviceError:
        return None  # whoever named the GPUs did not need the driver so far
    mebibytes = answer.splitlines()
    is_told = bool(mebibytes) and all(line.strip().isdecimal() for line in mebibytes)
    return max(map(int, mebibytes)) * 2**20 if is_told else None


def _visible_gpus() -> list[str]:
    """Return the GPUs that the driver lists, or those that ``CUDA_VISIBLE_DEVICES`` leaves."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu.strip() for gpu in chosen.split(",") if gpu.strip()]
    return (_ask_driver("--query-gpu=index", "--format=csv,noheader") or "").split()


def _ask_driver(*query: str) -> str | None:
    """Return what nvidia-smi answers; None if there is none, or it fails.

    Raises:
        DeviceError: It does not answer.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        answer = subprocess.run([tool, *query], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - fixed words
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            "nvidia-smi did not answer within 30 s.",
            remedy="Check the driver; or name the GPUs in CUDA_VISIBLE_DEVICES, or run with --device cpu.",
        ) from error
    return answer.stdout if answer.returncode == 0 else None
