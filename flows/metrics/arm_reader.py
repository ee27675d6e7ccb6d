"""One arm in the results store, followed from look to look."""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from flows.metrics.arms import SHOWN_SECONDS, ArmSnapshot, count_queued_seconds, newest
from flows.metrics.records import RecordReader
from flows.pace import Pace
from flows.status import STATUS_FILE
from worker.contract.arms import Arm
from worker.contract.config import RunConfig, RunIdentity
from worker.contract.curve_grid import CurveGrid, ThinnedCurve
from worker.contract.metric_spec import Source
from worker.contract.records import content_hash
from worker.contract.results import ArmState, ArmStatus, Attempt, EvalPoint, Progress, RunResult
from worker.contract.run_samples import ArmLabels, RunSnapshot
from worker.contract.store import PROGRESS_FILE, arm_folder, run_folder

SETTLING_SECONDS = 120.0
"""For how long an arm in a final state is still read: a worker that was told to stop may write until then."""


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """What a comparison's plan says about one of its arms."""

    comparison: str
    arm: Arm
    dataset: str
    grid: CurveGrid


class _Config(NamedTuple):
    revision: str
    experiment: str
    """Hash of what the curve depends on."""


class _Result(NamedTuple):
    experiment: str
    step: int
    accuracy: float


class _Run(NamedTuple):
    revision: str | None
    curve: ThinnedCurve
    result: _Result | None
    num_attempts: int


@dataclass(slots=True)
class ArmReader:
    """Reads one arm's records, and of them only those that may have changed."""

    records: RecordReader
    """The arm's own: what is kept of its records goes with the reader."""
    plan: ArmPlan
    status: ArmStatus | None = None
    """As it was last read; None if the arm never had one."""
    is_settled: bool = False
    """Whether nothing but a new flow run will change the arm."""
    _progress: Progress | None = None
    _runs: dict[int, _Run] = field(default_factory=dict)
    _pace: Pace = field(default_factory=Pace)

    @property
    def updated_at(self) -> float:
        """Unix time of the last news, seconds; 0 without any."""
        return newest(self.status, self._progress) if self.status else 0.0

    def look(self, now: float) -> bool:
        """Read what may have changed, and say whether the arm has a new status.

        Raises:
            StoreError: The store does not answer.
        """
        folder = arm_folder(self.plan.comparison, self.plan.arm.slug)
        status = self.records.read(folder / STATUS_FILE, ArmStatus.model_validate_json)
        has_changed = status != self.status
        if status is not None and (has_changed or (self._is_moving(status) and not self.is_settled)):
            progress = None
            if not _has_been_quiet(status, now):
                progress = self.records.read(folder / PROGRESS_FILE, Progress.model_validate_json)
            is_other_worker = _start(progress) != _start(self._progress)
            is_shown = now - newest(status, progress) < SHOWN_SECONDS
            seeds = status.seeds if is_shown else ()
            runs = {seed: self._read_run(seed, anew=has_changed or is_other_worker) for seed in seeds}
            self._progress, self._runs = progress, runs
            if progress:
                self._pace.see(progress)
        # Last, so that a look that the store has broken off is made again as a whole.
        self.status = status
        self.is_settled = status is None or (status.state.is_final and now - status.updated_at > SETTLING_SECONDS)
        return has_changed

    def drop_runs(self) -> None:
        """Keep nothing of the runs, until there is a new status."""
        if self._runs:
            self._runs = {}
            self.records.forget()

    def snapshot(self, now: float) -> ArmSnapshot | None:
        """Return the arm as it was last seen; None if it never had a status."""
        if self.status is None:
            return None
        plan = self.plan
        return ArmSnapshot(
            labels=ArmLabels(
                plan.comparison, plan.arm.slug, plan.arm.backbone.source, plan.arm.mode.value, Source.STORE
            ),
            status=self.status,
            progress=self._progress,
            worker_seconds_left=self._pace.seconds_left,
            queued_seconds=count_queued_seconds(self.status, now),
            num_attempts=max((run.num_attempts for run in self._runs.values()), default=0),
            runs=tuple(self._run_snapshot(seed, run) for seed, run in self._runs.items()),
        )

    @staticmethod
    def _is_moving(status: ArmStatus) -> bool:
        """Whether a worker may be writing; before it has a place, only a new status brings news."""
        return status.state is ArmState.RUNNING or status.state.is_final

    def _read_run(self, seed: int, *, anew: bool) -> _Run:
        """Read one run; what a worker writes once, only if there is another worker."""
        folder, grid = run_folder(self.plan.comparison, self.plan.arm.slug, seed), self.plan.grid
        paths = folder / "config.json", folder / "attempts.jsonl"
        if anew:
            config = self.records.read(paths[0], partial(_parse_config, seed))
            num_attempts = self.records.read(paths[1], _count_attempts)
        else:
            config, num_attempts = map(self.records.recall, paths)
        curve = self.records.read(folder / "curve.jsonl", partial(_parse_curve, grid)) or ThinnedCurve()
        result = None
        if curve.last_step in {None, grid.last_step}:
            result = self.records.read(folder / "result.json", _parse_result)
        if result and config and result.experiment != config.experiment:
            # What an earlier experiment under this name left, until this one's worker takes it away.
            curve, result = ThinnedCurve(), None
        return _Run(config.revision if config else None, curve, result, num_attempts or 0)

    def _run_snapshot(self, seed: int, run: _Run) -> RunSnapshot:
        curve, result = run.curve, run.result
        return RunSnapshot(
            seed=seed,
            dataset=self.plan.dataset,
            revision=run.revision,
            step=result.step if result else curve.last_step,
            accuracy=result.accuracy if result else curve.latest,
            curve=curve,
            num_planned=self.plan.grid.num_planned,
            is_complete=result is not None,
            last_step_at=self._progress.updated_at if self._progress and curve.last_step is not None else None,
        )


def _has_been_quiet(status: ArmStatus, now: float) -> bool:
    """Whether an arm has been in a final state for a day, so that no worker can have news of it."""
    return status.state.is_final and now - status.updated_at >= SHOWN_SECONDS


def _start(progress: Progress | None) -> float | None:
    return progress.started_at if progress else None


def _experiment(identity: RunIdentity) -> str:
    """Return the hash of an identity but for the recipe, of which a run's config does not speak."""
    return content_hash(identity.model_dump(mode="json", exclude={"recipe_version"}))


def _parse_config(seed: int, content: bytes) -> _Config:
    config = RunConfig.model_validate_json(content)
    return _Config(config.backbone.revision, _experiment(config.identity(seed)))


def _parse_result(content: bytes) -> _Result:
    result = RunResult.model_validate_json(content)
    return _Result(_experiment(result.identity), result.last.step, result.last.accuracy)


def _count_attempts(content: bytes) -> int:
    return max((Attempt.model_validate_json(line).number for line in content.splitlines()), default=0)


def _parse_curve(grid: CurveGrid, content: bytes) -> ThinnedCurve:
    points = [EvalPoint.model_validate_json(line) for line in content.splitlines()]
    if any(point.step != step for step, point in enumerate(points)) or len(points) > grid.last_step + 1:
        msg = f"it does not hold the steps from 0 to {grid.last_step} or fewer, once and in order"
        raise ValueError(msg)
    return grid.thin(points)
