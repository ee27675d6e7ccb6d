"""The device that this worker has: how much memory, and how fast it multiplies matrices."""

import os
import time
from pathlib import Path

import torch

from worker.contract.estimate import Machine
from worker.device import device_name

_MEASURING_SECONDS = 0.5
_SIZES = {"cpu": 2048, "cuda": 8192}
"""Rows and columns: large enough that nothing but arithmetic counts, small enough for a fraction of a second."""

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def look_at_machine(device: torch.device) -> Machine:
    """Return what a device has, and measure how fast it is, in less than a second on most."""
    return Machine(
        device="cuda" if device.type == "cuda" else "cpu",
        name=device_name(device),
        memory_bytes=_memory_bytes(device),
        flops_per_second=measure_rate(device),
    )


def measure_rate(device: torch.device) -> float:
    """Return the rate of matrix multiplication in fp32, in operations per second: the best of several."""
    size = _SIZES["cuda" if device.type == "cuda" else "cpu"]
    left, right = (torch.ones(size, size, device=device) for _ in range(2))
    best = float("inf")
    give_up_at = None
    while give_up_at is None or time.perf_counter() < give_up_at:
        started_at = time.perf_counter()
        torch.matmul(left, right)[0, 0].item()  # a GPU is asked for a number, so that it has to be done
        seconds = time.perf_counter() - started_at
        if give_up_at is None:
            give_up_at = time.perf_counter() + _MEASURING_SECONDS  # the first one loads libraries
        else:
            best = min(best, seconds)
    return 2 * size**3 / best


def _memory_bytes(device: torch.device) -> int:
    """Return a GPU's memory, or what of the machine's this container may use. Source: Linux, cgroup v2 and v1."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text("ascii").strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdecimal() else []  # "max" is no limit
    return min(limits)
