"""The state of every arm, written to the results store for whoever watches."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flows.executors import ExecutorClosedError, WorkerFailedError
from worker.contract.errors import ExitCode, FreezeBenchError, StoreError
from worker.contract.patience import log
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, Failure
from worker.contract.store import ResultsStore, arm_folder

STATUS_FILE = "status.json"


class StatusBoard:
    """Writes one ``status.json`` per arm, and keeps its times.

    Args:
        store: Results store.
        plan: Whose arms are run.
        flow_run: Id of the Prefect flow run.
    """

    def __init__(self, store: ResultsStore, plan: Plan, flow_run: str) -> None:
        """Write that every arm waits."""
        self._store = store
        self._comparison = plan.comparison
        self._lock = threading.Lock()
        self._is_closed = False
        now = time.time()
        self._statuses = {
            arm.slug: ArmStatus(state=ArmState.WAITING, flow_run=flow_run, seeds=plan.seeds, updated_at=now)
            for arm in plan.arms
        }
        for arm in self._statuses:
            self._write(arm)

    def enter(self, arm: str, state: ArmState, *, detail: str = "", failure: Failure | None = None) -> None:
        """Put an arm into a state, with the time at which that happened.

        Args:
            arm: Which arm.
            state: The state; the one that it is in already changes the detail alone.
            detail: What it waits for, or what happens to it, in words.
            failure: Why it failed.
        """
        now = time.time()
        is_new = state is not self._statuses[arm].state
        update: dict[str, object] = {"state": state, "detail": detail, "updated_at": now, "failure": failure}
        if state is ArmState.QUEUED and is_new:
            update |= {"queued_at": now, "started_at": None, "ended_at": None}
        if state is ArmState.RUNNING and is_new:
            update["started_at"] = now
        if state.is_final:
            update["ended_at"] = now
        self._update(arm, update)

    def set_reused(self, arm: str, seeds: Iterable[int]) -> None:
        """Put down which seeds of an arm need no run."""
        self._update(arm, {"reused_seeds": tuple(seeds)})

    def remedies(self) -> list[str]:
        """Return what can be done about the failures, each once."""
        failures = [status.failure for status in self._statuses.values() if status.failure]
        return list(dict.fromkeys(failure.remedy for failure in failures))

    @contextmanager
    def showing_failures(self, arms: Iterable[str]) -> Iterator[None]:
        """Put arms into ``failed`` when what is done for them in this block raises; the error goes on."""
        try:
            yield
        except ExecutorClosedError:
            raise
        except Exception as error:
            failure = _failure(error)
            for arm in arms:
                self.enter(arm, ArmState.FAILED, failure=failure)
            raise

    def close(self) -> None:
        """Write nothing any more, whoever asks for it."""
        self._store.give_up()  # a thread that waits for the store has the lock
        with self._lock:
            self._is_closed = True

    def cancel_unfinished(self) -> None:
        """Put every arm that is in no final state into ``cancelled``, and let none leave it again.

        The store is asked once: what ended the flow is more important than this note of it.
        """
        self.close()
        now = time.time()
        cancelled = {"state": ArmState.CANCELLED, "detail": "", "updated_at": now, "ended_at": now}
        for arm, status in self._statuses.items():
            if not status.state.is_final:
                self._statuses[arm] = status.model_copy(update=cancelled)
                try:
                    self._write(arm)
                except StoreError as error:
                    log.warning("%s was cancelled, which is not put down: %s", arm, error)
                    return

    def _update(self, arm: str, update: dict[str, object]) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._statuses[arm] = self._statuses[arm].model_copy(update=update)
            self._write(arm)

    def _write(self, arm: str) -> None:
        self._store.write_record(arm_folder(self._comparison, arm) / STATUS_FILE, self._statuses[arm])


def _failure(error: Exception) -> Failure:
    if isinstance(error, WorkerFailedError):
        return error.failure
    if isinstance(error, FreezeBenchError):
        return Failure(exit_code=error.exit_code, problem=error.problem, remedy=error.remedy)
    return Failure(
        exit_code=ExitCode.ERROR,
        problem=f"{type(error).__name__}: {error}",
        remedy="This failed on the flow's side: the flow run's log in Prefect has the traceback.",
    )


def read_status(store: ResultsStore, comparison: str, arm: str) -> ArmStatus | None:
    """Return an arm's last status, or None if it never had one."""
    return store.read_record(arm_folder(comparison, arm) / STATUS_FILE, ArmStatus)
