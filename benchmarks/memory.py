"""Peak memory of this process or its GPU, over what was taken when the clock began."""

import sys
from pathlib import Path

from benchmarks.measurement import Device

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Source: Linux, proc_pid_clear_refs(5)."""


class PeakMemory:
    """The most memory since this object was made, beyond what there was then.

    Of the CPU it is resident memory, which the kernel keeps the peak of; of a GPU it is what torch has allocated.
    """

    def __init__(self, device: Device) -> None:
        """Forget earlier peaks."""
        self._device = device
        if device == "cuda":
            torch = sys.modules["torch"]
            torch.cuda.reset_peak_memory_stats()
            self._before = int(torch.cuda.memory_allocated())
        else:
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
            self._before = _read_status("VmRSS")

    def read_bytes(self) -> int:
        """Return the peak so far."""
        if self._device == "cuda":
            return int(sys.modules["torch"].cuda.max_memory_allocated()) - self._before
        return _read_status("VmHWM") - self._before


def _read_status(key: str) -> int:
    """Return a line of the process's status in bytes; the kernel writes kibibytes."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {key}. Measure memory on Linux.")
