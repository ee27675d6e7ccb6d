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
from rich.text import Text

from flows.pace import Pace
from flows.status import read_status
from worker.contract.arms import Arm
from worker.contract.errors import FreezeBenchError, ResultError, StoreError
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus, EvalPoint, Progress
from worker.contract.store import PROGRESS_FILE, ResultsStore, RunRecords, arm_folder

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
    progress: Progress | None = None
    """Of the worker that is running or was the last; None while it has not begun to train."""
    step: int | None = None
    """Last step of the curves, the least of the seeds that have one."""
    accuracy: float | None = None
    """Mean over seeds of the latest validation accuracy."""
    pace: Pace = field(default_factory=Pace)
    detail: str = ""
    """What it waits for, in words."""
    problem: str | None = None
    ended_in_seconds: float | None = None

    def see(self, status: ArmStatus, progress: Progress | None, curves: list[list[EvalPoint]]) -> None:
        """Take over what the store says."""
        self.state = status.state
        self.detail = status.detail
        self.problem = status.failure.problem if status.failure else None
        self.progress = progress
        if status.ended_at and status.started_at:
            self.ended_in_seconds = status.ended_at - status.started_at
        latest = [points[-1] for points in map(evaluated, curves) if points]
        self.step = min((step for step, _ in latest), default=None)
        self.accuracy = sum(accuracy for _, accuracy in latest) / len(latest) if latest else None
        if progress is not None:
            self.pace.see(progress)

    @property
    def shown_state(self) -> str:
        """The state in words, with what the arm waits for."""
        return f"{self.state}, {self.detail}" if self.detail else str(self.state)

    @property
    def seconds_left(self) -> float | None:
        """How long the arm still takes at its present speed, if that is known."""
        return self.pace.seconds_left if self.state is ArmState.RUNNING and self.progress else None


def evaluated(curve: list[EvalPoint]) -> list[tuple[int, float]]:
    """Return step and validation accuracy of the points that were scored."""
    return [(point.step, point.validation_accuracy) for point in curve if point.validation_accuracy is not None]


class Watch:
    """Shows how a comparison goes on, in a thread of its own, between ``with`` and its end.

    Args:
        store: Results store.
        plan: Whose arms are shown.
        console: Where to. A terminal gets a live table, anything else a line per change.
        on_error: Told when the store cannot be read, and when it can be again.
        flow_run: Whose states are shown, by the id of its Prefect flow run; of any from now on if None.
    """

    def __init__(
        self,
        store: ResultsStore,
        plan: Plan,
        console: Console,
        on_error: Callable[[str], None],
        flow_run: str | None = None,
    ) -> None:
        """Nothing is read before the ``with`` block."""
        self._flow_run = flow_run
        self._store = ResultsStore(store.url, patience_seconds=0)  # the next look is the next try
        self._plan = plan
        self._console = console
        self._on_error = on_error
        self._views = {arm.slug: ArmView(arm) for arm in plan.arms}
        self._started_at = time.time()
        self._trouble = ""
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
        table = Table("arm", "state", "updates", "accuracy", "updates/s", "left", box=None, pad_edge=False)
        for view in self._views.values():
            progress, speed, left = view.progress, view.pace.updates_per_second, view.seconds_left
            table.add_row(
                Text(view.arm.label),
                Text(view.shown_state, style=_STYLES.get(view.state, "dim")),
                "" if progress is None else f"{progress.num_updates}/{progress.num_planned}",
                "" if view.accuracy is None else f"{view.accuracy:.3f}",
                "" if speed is None else f"{speed:.1f}",
                "" if left is None else f"{left:.0f} s",
            )
        return table

    def _follow(self) -> None:
        if self._console.is_terminal:
            with Live(self.table(), console=self._console, refresh_per_second=4, transient=True) as live:
                self._poll(lambda _view, _before: live.update(self.table()))
        else:
            self._poll(self._say)

    def _poll(self, show: Callable[[ArmView, str], None]) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(REFRESH_SECONDS)
            trouble = None
            for view in self._views.values():
                before = view.shown_state
                try:
                    self._read(view)
                except (ResultError, StoreError) as error:
                    trouble = error
                    if isinstance(error, StoreError):
                        break
                show(view, before)
            self._tell(trouble)

    def _tell(self, trouble: FreezeBenchError | None) -> None:
        """Say once what is in the way of watching, and once that it is gone."""
        words = f"The results store cannot be watched: {trouble}" if trouble else ""
        if words and not self._trouble:
            self._on_error(words)
        elif self._trouble and not words:
            self._on_error("The results store can be watched again.")
        self._trouble = words

    def _read(self, view: ArmView) -> None:
        status = read_status(self._store, self._plan.comparison, view.arm.slug)
        if status is None or not self._is_news(status):
            return
        folder = arm_folder(self._plan.comparison, view.arm.slug)
        progress = self._store.read_record(folder / PROGRESS_FILE, Progress)
        if status.state is not ArmState.REUSED and (
            progress is None or status.started_at is None or progress.started_at < status.started_at
        ):
            # Nothing is from this run yet: curves and progress in the store are an earlier attempt's.
            view.see(status, None, [])
            return
        curves = [self._read_curve(view.arm.slug, seed) for seed in status.seeds]
        view.see(status, None if status.state is ArmState.REUSED else progress, curves)

    def _is_news(self, status: ArmStatus) -> bool:
        """Whether a status is of the run that is watched, and not one that an earlier run left."""
        if self._flow_run is None:
            return status.updated_at >= self._started_at
        return status.flow_run == self._flow_run

    def _read_curve(self, arm: str, seed: int) -> list[EvalPoint]:
        """Return a curve so far; one that cannot be read is about to be made again, or named by the report."""
        try:
            return RunRecords(self._store, self._plan.comparison, arm, seed).read_curve()
        except ResultError:
            return []

    def _say(self, view: ArmView, before: str) -> None:
        if view.shown_state == before:
            return
        words = f"{view.arm.label}: {view.shown_state}"
        if view.state in {ArmState.DONE, ArmState.REUSED} and view.accuracy is not None:
            words += f", accuracy {view.accuracy:.3f} at step {view.step}"
        if view.state is ArmState.DONE and view.ended_in_seconds is not None:
            words += f", {view.ended_in_seconds:.1f} s"
        if view.problem:
            words += f": {view.problem}"
        self._console.print(words, markup=False, highlight=False, soft_wrap=True)
