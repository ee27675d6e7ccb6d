"""What is shown of an arm: from its records to samples. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.contract import metric_names as names
from worker.contract.errors import ExitCode
from worker.contract.metric_spec import Samples, Source
from worker.contract.results import ArmState, ArmStatus, Progress
from worker.contract.run_samples import ArmLabels, RunSnapshot, add_run

SHOWN_SECONDS = 24 * 3600.0
"""An arm without news for this long is not shown any more."""

MAX_SAMPLES = 50_000
"""Samples that are shown, those of the newest arms first: what a scrape may cost has an end."""

_OF_STORE = tuple(metric for metric in names.METRICS if Source.STORE in metric.sources)
_NUM_PER_ARM = sum(metric.labels == names.ARM_LABELS for metric in _OF_STORE) + len(names.STATES)
_NUM_PER_RUN = sum(set(names.RUN_LABELS) <= set(metric.labels) for metric in _OF_STORE) - 1  # the curve is counted


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmSnapshot:
    """One arm at one moment."""

    labels: ArmLabels
    status: ArmStatus
    progress: Progress | None
    """Of its last worker."""
    worker_seconds_left: float | None
    """How long its last worker still takes, if that is known."""
    queued_seconds: float
    """How long the arm has waited for a place, or waited until it had one; 0 if it never had to."""
    num_attempts: int
    runs: Sequence[RunSnapshot]

    @property
    def updated_at(self) -> float:
        """Unix time of the last news, seconds."""
        return newest(self.status, self.progress)

    @property
    def num_samples(self) -> int:
        """How many samples the arm has, at most: what is not known is left out."""
        return _NUM_PER_ARM + sum(_NUM_PER_RUN + len(run.curve.steps) for run in self.runs)

    @property
    def progress_ratio(self) -> float:
        """How much of its updates the arm's last worker has made; 0 before it has said anything."""
        if self.status.state in {ArmState.DONE, ArmState.REUSED}:
            return 1.0
        progress = self._own_progress
        return progress.num_updates / progress.num_planned if progress else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the arm still takes; None unless it runs and its worker has been seen to move."""
        return self.worker_seconds_left if self.status.state is ArmState.RUNNING and self._own_progress else None

    @property
    def _own_progress(self) -> Progress | None:
        """The progress, unless an earlier flow run's worker has left it."""
        # A worker that was taken over has started before this flow run's arm was queued: its start tells nothing.
        is_own = self.progress and self.status.queued_at and self.progress.updated_at >= self.status.queued_at
        return self.progress if is_own else None

    @property
    def exit_code(self) -> int | None:
        """How the arm ended; None while it goes on, and if it was cancelled before anything went wrong."""
        if self.status.failure is not None:
            return self.status.failure.exit_code
        if self.status.state is ArmState.FAILED:
            return ExitCode.ERROR
        return ExitCode.DONE if self.status.state in {ArmState.DONE, ArmState.REUSED} else None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSnapshot:
    """All that is shown of a results store at one moment."""

    arms: Sequence[ArmSnapshot] = ()
    num_left_out: int = 0
    """Arms of the last day that are not among them."""
    num_unreadable: int = 0
    """Records that are torn or foreign."""
    num_failures: int = 0
    """Looks that came to nothing, since the process started."""
    read_at: float | None = None
    """Unix time of the last look that came to something, seconds."""


def newest(status: ArmStatus, progress: Progress | None) -> float:
    """Return the Unix time of an arm's last news, seconds."""
    return max(status.updated_at, progress.updated_at if progress else 0.0)


def count_queued_seconds(status: ArmStatus, now: float) -> float:
    """Return how long an arm has waited for a place, or waited until it had one; 0 if it never had to."""
    if status.queued_at is None:
        return 0.0
    until = now if status.state is ArmState.QUEUED else status.started_at or status.ended_at
    return max(0.0, (until or now) - status.queued_at)


def keep_newest(arms: Sequence[ArmSnapshot], most: int) -> list[ArmSnapshot]:
    """Return the newest arms, as many as have no more samples than ``most``; the newest of all in any case."""
    kept: list[ArmSnapshot] = []
    num_samples = 0
    for arm in sorted(arms, key=lambda arm: arm.updated_at, reverse=True):
        num_samples += arm.num_samples
        if kept and num_samples > most:
            break
        kept.append(arm)
    return kept


def add_totals(samples: Samples, store: StoreSnapshot) -> None:
    """Add what is said of a results store as a whole."""
    samples.add(names.STORE_LAST_READ_TIMESTAMP, (), store.read_at)
    samples.add(names.STORE_READ_FAILURES, (), store.num_failures)
    samples.add(names.STORE_UNREADABLE_RECORDS, (), store.num_unreadable)
    samples.add(names.ARMS_LEFT_OUT, (), store.num_left_out)


def add_arm(samples: Samples, arm: ArmSnapshot) -> None:
    """Add everything that is said of an arm and its runs. Equal arms give equal samples, whenever that is."""
    of_arm = arm.labels.of_arm
    for state in names.STATES:
        samples.add(names.ARM_STATE, (*of_arm, state), state == arm.status.state)
    samples.add(names.ARM_QUEUED, of_arm, arm.queued_seconds)
    samples.add(names.ARM_ATTEMPTS, of_arm, arm.num_attempts)
    samples.add(names.ARM_EXIT_CODE, of_arm, arm.exit_code)
    samples.add(names.ARM_PROGRESS, of_arm, arm.progress_ratio)
    samples.add(names.ARM_REMAINING, of_arm, arm.seconds_left)
    samples.add(names.ARM_UPDATED_TIMESTAMP, of_arm, arm.updated_at)
    for run in arm.runs:
        add_run(samples, arm.labels, run)
