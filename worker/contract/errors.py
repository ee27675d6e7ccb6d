"""The error tree and the exit codes: one meaning per code, from the process to the Job to the chart.

```
FreezeBenchError
├── ConfigError(ValueError)      a plan or a run config says something that cannot be done
│   └── PlanConflictError        the store holds another experiment under this name
├── DataError                    the data set cannot be read or split
├── BackboneError                the backbone cannot be found, read or used
├── DeviceError                  the asked-for device is missing
├── TrainingError
│   ├── OutOfDeviceMemoryError   the device's memory is too small
│   └── NonFiniteLossError       every learning rate diverged
├── ComparisonBusyError          another process runs the same comparison
├── HubUnreachableError          the hub does not answer now
├── SourceUnreachableError       the host of a data file does not answer now
├── SourceChangedError           a file changed while it was read or fetched
├── StoreError                   the results store cannot be read or written
├── ResultError                  a record in the results store is missing, torn or foreign
└── ArmsFailedError              some arms ended without a result
```
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a worker process ended.

    40 to 45 will fail again and are never retried; anything else may be retried.
    143 is what a shell reports after SIGTERM (128 + 15), and is never 0, so that a stopped worker is not taken for a
    finished one.
    """

    DONE = 0
    ERROR = 1
    CONFIG = 40
    DATA = 41
    BACKBONE = 42
    OUT_OF_DEVICE_MEMORY = 43
    NON_FINITE_LOSS = 44
    DEVICE = 45
    TERMINATED = 143

    @property
    def is_permanent(self) -> bool:
        """Whether the same worker on the same input will end this way again."""
        return ExitCode.CONFIG <= self <= ExitCode.DEVICE


class FreezeBenchError(Exception):
    """What went wrong, and what to do about it.

    Args:
        problem: What was tried, on what, and what came back.
        remedy: What the reader can do next.
    """

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, problem: str, *, remedy: str) -> None:
        """Keep both halves apart, so that a record can store them as fields."""
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class ConfigError(FreezeBenchError, ValueError):
    """A plan or a run config asks for something that cannot be done."""

    exit_code = ExitCode.CONFIG


class PlanConflictError(ConfigError):
    """The store holds another experiment under the same comparison name."""


class DataError(FreezeBenchError):
    """The data set cannot be read, or cannot be split as asked."""

    exit_code = ExitCode.DATA


class BackboneError(FreezeBenchError):
    """The backbone cannot be found, read or used."""

    exit_code = ExitCode.BACKBONE


class DeviceError(FreezeBenchError):
    """The device that the run was to use is not there."""

    exit_code = ExitCode.DEVICE


class TrainingError(FreezeBenchError):
    """Training started and could not go on."""


class OutOfDeviceMemoryError(TrainingError):
    """The device's memory does not hold the model, its gradients or a batch."""

    exit_code = ExitCode.OUT_OF_DEVICE_MEMORY


class NonFiniteLossError(TrainingError):
    """Every learning-rate candidate of a run reached an infinite or undefined loss."""

    exit_code = ExitCode.NON_FINITE_LOSS


class ComparisonBusyError(FreezeBenchError):
    """Another process runs the same comparison in the same results store."""


class HubUnreachableError(FreezeBenchError):
    """The hub does not answer, or not now: unlike a repository that is not there, this may pass."""


class SourceUnreachableError(FreezeBenchError):
    """The host of a remote data file does not answer, or not now: unlike a file that is not there, this may pass."""


class SourceChangedError(FreezeBenchError):
    """A file of the data or of a backbone changed while it was read or fetched: the next time it may hold still."""


class StoreError(FreezeBenchError):
    """The results store cannot be read or written: full, read-only, closed to us, or away for longer than we wait.

    Args:
        problem: What was tried, on what, and what came back.
        remedy: What the reader can do next.
        may_pass: Whether the same call may do better later.
    """

    def __init__(self, problem: str, *, remedy: str, may_pass: bool) -> None:
        """Keep whether waiting can help."""
        super().__init__(problem, remedy=remedy)
        self.may_pass = may_pass


class ResultError(FreezeBenchError):
    """A record in the results store is missing, incomplete, torn, or of another schema version."""


class ArmsFailedError(FreezeBenchError):
    """The comparison was drawn, with the arms named that have no result."""
