"""The machine that measures: what times depend on, and what they are worth nothing without."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from benchmarks.measurement import Device, Measurement
from worker.contract.records import Record


class Machine(Record):
    """What figures were measured on."""

    processor: str = Field(description="Model of the CPU.")
    num_cores: int = Field(ge=1, description="Cores that this process may use.")
    memory_gib: int = Field(ge=1, description="RAM, rounded.")
    device: str = Field(description="cpu, or the model of the GPU.")
    torch: str = Field(description="Version, with its build.")
    transformers: str = Field(description="Version.")

    def __str__(self) -> str:
        device = "" if self.device == "cpu" else f"{self.device}, "
        return (
            f"{device}{self.processor}, {self.num_cores} cores, {self.memory_gib} GiB, "
            f"torch {self.torch}, transformers {self.transformers}"
        )


def describe_machine(device: Device, gpu: str = "") -> Machine:
    """Return this machine. The model of a GPU comes from a process that has loaded torch: see ``name_gpu``."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return Machine(
        processor=models[0] if models else platform.machine(),
        num_cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        device=gpu or device,
        torch=version("torch"),
        transformers=version("transformers"),
    )


def name_gpu(_bench: object) -> Measurement:
    """Return the model of the GPU as a note; a side, because loading torch here would take seconds.

    Raises:
        RuntimeError: torch sees none.
    """
    import torch  # noqa: PLC0415 - see above

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU. Measure with --device cpu, or check the driver and torch's build.")
    return Measurement(values={}, notes={"device": torch.cuda.get_device_name()})
