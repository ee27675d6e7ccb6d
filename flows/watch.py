"""Watching a comparison: a live table on a terminal, plain lines elsewhere. Reads the results store alone."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from flows.status import read_status
from worker.contract.arms import Arm
from worker.contract.errors import ResultError
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, EvalPoint
from worker.contract.store import ResultsStore, RunRecords

REFRESH_SECONDS = 0.5
_STYLES = {
    ArmState.RUNNING: "cyan",
    ArmState.PREPARING: "cyan",
    ArmState.DONE: "green",
    ArmState.REUSED: "green",
    ArmState.FAILED: "bold red",
    ArmState.CANCELLED: "yellow",
}


@dataclass(slots=True)
class ArmView:
    """What is known of one arm right now."""

    arm: Arm
    state: ArmState = ArmState.WAITING
    step: int | None = None
    """Steps of the seed that has come least far."""
    accuracy: float | None = None
    """Mean over seeds of the latest validation accuracy."""
    steps_per_second: float | None = None
    problem: str | None = None
    ended_in_seconds: float | None = None
    _first_seen: tuple[float, int] | None = field(default=None, repr=False)

    def see(self, status: ArmStatus, curves: list[list[EvalPoint]], now: float) -> None:
        """Take over what the store says."""
        self.state = status.state
        self.problem = status.failure.problem if status.failure else None
        if status.ended_at and status.started_at:
            self.ended_in_seconds = status.ended_at - status.started_at
        if not curves or not all(curves):
            return
        self.step = min(curve[-1].step for curve in curves)
        latest = [
            next(point.validation_accuracy for point in reversed(curve) if point.validation_accuracy is not None)
            for curve in curves
        ]
        self.accuracy = sum(latest) / len(latest)
        if self._first_seen is None:
            self._first_seen = (now, self.step)
        first_time, first_step = self._first_seen
        if self.step > first_step:
            self.steps_per_second = (self.step - first_step) / (now - first_time)

    def seconds_left(self, steps: int) -> float | None:
        """Return how long the arm still takes at its present speed, if that is known."""
        if self.state is not ArmState.RUNNING or not self.steps_per_second or self.step is None:
            return None
        return (steps - self.step) / self.steps_per_second


class Watch:
    """Shows how a comparison goes on, in a thread of its own, between ``with`` and its end.

    Args:
        store: Results store.
        plan: Whose arms are shown.
        console: Where to. A terminal gets a live table, anything else a line per change.
        on_error: Told once if the store cannot be read.
    """

    def __init__(self, store: ResultsStore, plan: Plan, console: Console, on_error: Callable[[str], None]) -> None:
        """Nothing is read before the ``with`` block."""
        self._store = store
        self._plan = plan
        self._console = console
        self._on_error = on_error
        self._views = {arm.slug: ArmView(arm) for arm in plan.arms}
        self._started_at = time.time()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)

    def __enter__(self) -> Self:
        """Start to show."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Show the last state, and stop."""
        self._stop.set()
        self._thread.join()

    def table(self) -> Table:
        """Return every arm's state as a table."""
        table = Table("arm", "state", "step", "accuracy", "steps/s", "left", box=None, pad_edge=False)
        steps = self._plan.training.steps
        for view in self._views.values():
            left = view.seconds_left(steps)
            table.add_row(
                view.arm.label,
                f"[{_STYLES.get(view.state, 'dim')}]{view.state}[/]",
                "" if view.step is None else f"{view.step}/{steps}",
                "" if view.accuracy is None else f"{view.accuracy:.3f}",
                "" if view.steps_per_second is None else f"{view.steps_per_second:.1f}",
                "" if left is None else f"{left:.0f} s",
            )
        return table

    def _follow(self) -> None:
        if self._console.is_terminal:
            with Live(self.table(), console=self._console, refresh_per_second=4, transient=True) as live:
                self._poll(lambda _view, _before: live.update(self.table()))
        else:
            self._poll(self._say)

    def _poll(self, show: Callable[[ArmView, ArmState], None]) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(REFRESH_SECONDS)
            try:
                for view in self._views.values():
                    before = view.state
                    self._read(view)
                    show(view, before)
            except (OSError, ResultError) as error:
                self._on_error(f"The results store cannot be watched: {error}")
                return

    def _read(self, view: ArmView) -> None:
        status = read_status(self._store, self._plan.comparison, view.arm.slug)
        if status is None or status.updated_at < self._started_at:
            return
        # Before its worker has started, an arm may still have the curve of an earlier attempt.
        may_read = status.state in {ArmState.RUNNING, ArmState.DONE, ArmState.REUSED}
        curves = [self._read_curve(view.arm.slug, seed) for seed in (status.seeds if may_read else ())]
        view.see(status, curves, time.time())

    def _read_curve(self, arm: str, seed: int) -> list[EvalPoint]:
        """Return a curve so far; one that cannot be read is about to be made again, or named by the report."""
        try:
            return RunRecords(self._store, self._plan.comparison, arm, seed).read_curve()
        except ResultError:
            return []

    def _say(self, view: ArmView, before: ArmState) -> None:
        if view.state is before:
            return
        words = f"{view.arm.label}: {view.state}"
        if view.state in {ArmState.DONE, ArmState.REUSED} and view.accuracy is not None:
            words += f", accuracy {view.accuracy:.3f} at step {view.step}"
        if view.state is ArmState.DONE and view.ended_in_seconds is not None:
            words += f", {view.ended_in_seconds:.1f} s"
        if view.problem:
            words += f": {view.problem}"
        self._console.print(words, markup=False, highlight=False, soft_wrap=True)
