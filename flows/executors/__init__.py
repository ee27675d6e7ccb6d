"""Executors: how a worker is started, and where. The flow knows only this interface."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.contract.config import Execution, PrepareConfig, RunConfig
from worker.contract.errors import FreezeBenchError
from worker.contract.results import Failure


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """How one worker ended."""

    exit_code: int
    failure: Failure | None
    """Its last words, or what the executor found; None if it did what it was told."""


class ExecutorClosedError(Exception):
    """No worker is started any more: the comparison was cancelled."""


class WorkerFailedError(FreezeBenchError):
    """A worker ended without doing what it was told.

    Args:
        name: Of the worker, or what it worked on.
        failure: Its last words.
    """

    def __init__(self, name: str, failure: Failure) -> None:
        """Keep the worker's last words."""
        super().__init__(f"{name}: {failure.problem}", remedy=failure.remedy)
        self.failure = failure


class Executor(Protocol):
    """Runs workers, a bounded number at once."""

    execution: Execution
    """What workers are told about store, cache and device."""

    def run(self, config: RunConfig | PrepareConfig, on_start: Callable[[], None]) -> WorkerOutcome:
        """Run one worker to its end, after waiting for a place.

        Args:
            config: The worker's document; its ``name`` is the worker's.
            on_start: Called when it has a place and is being started.
        """

    def close(self, *, at_once: bool = False) -> None:
        """End every worker that is running and start no other. Idempotent, from any thread.

        Args:
            at_once: Leave them no time to write anything more.
        """
