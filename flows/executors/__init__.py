"""Executors: how a worker is started, and where. The flow knows only this interface."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from worker.contract.config import Execution, PrepareConfig, RunConfig
from worker.contract.errors import FreezeBenchError
from worker.contract.results import ArmState, Failure


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """How one worker ended."""

    exit_code: int
    failure: Failure | None
    """Its last words, or what the executor found; None if it did what it was told."""
    is_exhausted: bool = False
    """Whether the executor has tried already as often as it may."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """Where a worker is that has not ended."""

    state: ArmState
    """``QUEUED`` or ``RUNNING``."""
    detail: str = ""
    """What it waits for, or what happens to it, in words."""


class CloseReason(StrEnum):
    """Why an executor is closed."""

    CANCELLED = "cancelled"
    """Somebody wants the comparison to end: every worker is told to stop, and leaves a checkpoint."""
    TAKEN_OVER = "taken over"
    """Another process runs the comparison: workers of this one may write nothing more."""
    FAILED = "failed"
    """The comparison cannot go on. A later run may take over what outlives this process."""
    DONE = "done"
    """No worker is left."""


class ExecutorClosedError(Exception):
    """No worker is started any more: the comparison was cancelled."""


class WorkerFailedError(FreezeBenchError):
    """A worker ended without doing what it was told.

    Args:
        name: Of the worker, or what it worked on.
        failure: Its last words.
        is_exhausted: Whether it was tried already as often as it may.
    """

    def __init__(self, name: str, failure: Failure, *, is_exhausted: bool = False) -> None:
        """Keep the worker's last words."""
        super().__init__(f"{name}: {failure.problem}", remedy=failure.remedy)
        self.failure = failure
        self.is_exhausted = is_exhausted


class Executor(Protocol):
    """Runs workers, a bounded number at once."""

    execution: Execution
    """What workers are told about store, cache and device."""
    memory_limit_bytes: int | None
    """Memory of the largest GPU that an arm may get; None where arms use none, it is not known, or is not to count."""
    workers_outlive_flow: bool
    """Whether a worker goes on when the flow's process ends, so that the next one may take it over."""

    def run(self, config: RunConfig | PrepareConfig, on_change: Callable[[WorkerState], None]) -> WorkerOutcome:
        """Run one worker to its end, after waiting for a place.

        Args:
            config: The worker's document; its ``name`` is the worker's.
            on_change: Told where the worker is, each time that changes.

        Raises:
            ExecutorClosedError: ``close`` was called before or while the worker ran.
        """

    def close(self, reason: CloseReason) -> None:
        """Start no other worker, and do with those that run what the reason says. Idempotent, from any thread."""
