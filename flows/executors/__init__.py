"""Executors: how a worker is started, and where. The flow knows only this interface."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.contract.config import Execution, PrepareConfig, RunConfig
from worker.contract.results import Failure


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """How one worker ended."""

    exit_code: int
    failure: Failure | None
    """Its last words, or what the executor found; None if it did what it was told."""


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

    def close(self) -> None:
        """End every worker that is running and start no other. Idempotent, from any thread."""
