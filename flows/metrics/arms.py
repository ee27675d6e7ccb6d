"""What is shown of an arm: from its records to samples. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.contract import metric_names as names
from worker.contract.errors import ExitCode
from worker.contract.metric_spec import Samples
from worker.contract.results import ArmState, ArmStatus, Progress
from worker.contract.run_samples import ArmLabels, RunSnapshot, add_run

SHOWN_SECONDS = 24 * 3600.0
"""An arm without news for this long is not shown any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmSnapshot:
    """One arm at one moment."""

    labels: ArmLabels
    status: ArmStatus
    progress: Progress | None
    """Of its last worker."""
    seconds_left: float | None
    num_attempts: int
    runs: Sequence[RunSnapshot]

    @property
    def updated_at(self) -> float:
        """Unix time of the last news, seconds."""
        return newest(self.status, self.progress)

    @property
    def progress_ratio(self) -> float:
        """How much of its updates the arm's last worker has made; 0 before it has said anything."""
        if self.status.state in {ArmState.DONE, ArmState.REUSED}:
            return 1.0
        # The record may be an earlier flow run's. A worker that was taken over has started before this one was queued.
        is_own = self.progress and self.status.queued_at and self.progress.updated_at >= self.status.queued_at
        return self.progress.num_updates / self.progress.num_planned if self.progress and is_own else 0.0

    @property
    def exit_code(self) -> int | None:
        """How the arm ended; None while it goes on, and if it was cancelled before anything went wrong."""
        if self.status.failure is not None:
            return self.status.failure.exit_code
        if self.status.state is ArmState.FAILED:
            return ExitCode.ERROR
        return ExitCode.DONE if self.status.state in {ArmState.DONE, ArmState.REUSED} else None

    def queued_seconds(self, now: float) -> float:
        """Return how long the arm has waited for a place, or waited until it had one; 0 if it never had to."""
        if self.status.queued_at is None:
            return 0.0
        until = now if self.status.state is ArmState.QUEUED else self.status.started_at or self.status.ended_at
        return max(0.0, (until or now) - self.status.queued_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSnapshot:
    """All that is shown of a results store at one moment."""

    arms: Sequence[ArmSnapshot] = ()
    num_left_out: int = 0
    """Arms of the last day that are not among them."""
    num_unreadable: int = 0
    num_failures: int = 0
    """Looks that came to nothing, since the process started."""
    read_at: float | None = None
    """Unix time of the last look that came to something, seconds."""


def newest(status: ArmStatus, progress: Progress | None) -> float:
    """Return the Unix time of an arm's last news, seconds."""
    return max(status.updated_at, progress.updated_at if progress else 0.0)


def add_store(samples: Samples, store: StoreSnapshot) -> None:
    """Add everything that is shown of a results store."""
    for arm in store.arms:
        _add_arm(samples, arm, store.read_at or arm.updated_at)
        for run in arm.runs:
            add_run(samples, arm.labels, run)
    samples.add(names.STORE_LAST_READ_TIMESTAMP, (), store.read_at)
    samples.add(names.STORE_READ_FAILURES, (), store.num_failures)
    samples.add(names.STORE_UNREADABLE_RECORDS, (), store.num_unreadable)
    samples.add(names.ARMS_LEFT_OUT, (), store.num_left_out)


def _add_arm(samples: Samples, arm: ArmSnapshot, now: float) -> None:
    of_arm = arm.labels.of_arm
    for state in names.STATES:
        samples.add(names.ARM_STATE, (*of_arm, state), state == arm.status.state)
    samples.add(names.ARM_QUEUED, of_arm, arm.queued_seconds(now))
    samples.add(names.ARM_ATTEMPTS, of_arm, arm.num_attempts)
    samples.add(names.ARM_EXIT_CODE, of_arm, arm.exit_code)
    samples.add(names.ARM_PROGRESS, of_arm, arm.progress_ratio)
    samples.add(names.ARM_REMAINING, of_arm, arm.seconds_left)
    samples.add(names.ARM_UPDATED_TIMESTAMP, of_arm, arm.updated_at)
