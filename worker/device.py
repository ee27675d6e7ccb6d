"""Devices: which one a worker uses, and how many threads."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from worker.contract.config import Execution
from worker.contract.errors import DeviceError

if TYPE_CHECKING:
    from accelerate import Accelerator

_RECORDED_PACKAGES = ("accelerate", "freeze-bench", "safetensors", "tokenizers", "torch", "transformers")


def take_device(execution: Execution) -> torch.device:
    """Take the device that was asked for.

    On a GPU, operations that have a deterministic form use it. Some of attention's backward passes have none, and only
    warn: there a live curve may differ in its last bits from one run to the next.

    Raises:
        DeviceError: A GPU was asked for and there is none: training on the CPU instead would take days unasked.
    """
    has_gpu = torch.cuda.is_available()
    if execution.device == "cuda" and not has_gpu:
        raise DeviceError(
            "This worker was told to use a GPU and torch sees none.",
            remedy="Check the driver, the container runtime and the GPU limit of the Job, or set device to cpu.",
        )
    if execution.num_threads:
        torch.set_num_threads(execution.num_threads)
    use_gpu = has_gpu and execution.device != "cpu"
    if use_gpu:
        # cuBLAS reads this when its first handle is made. Source: CUDA, cuBLAS results reproducibility.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
    return torch.device("cuda" if use_gpu else "cpu")


def open_accelerator(device: torch.device) -> "Accelerator":
    """Return what places a live model on a device that was taken."""
    from accelerate import Accelerator  # noqa: PLC0415 - up to a second, with boto3; not needed where features are cached

    return Accelerator(cpu=device.type == "cpu", mixed_precision="no")


def device_name(device: torch.device) -> str:
    """Return the device's model: two results are comparable bit by bit only on equal models."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"cpu ({models[0] if models else platform.machine()})"


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a curve depends on."""
    return {name: version(name) for name in _RECORDED_PACKAGES}
