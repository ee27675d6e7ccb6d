"""What a run shows in Prometheus: the same samples, whether its worker says them or the results store. Pure."""

from dataclasses import dataclass

from worker.contract import metric_names as names
from worker.contract.curve_grid import ThinnedCurve
from worker.contract.metric_spec import Samples, Source


@dataclass(frozen=True, slots=True)
class ArmLabels:
    """What identifies an arm in every series about it."""

    comparison: str
    arm: str
    backbone: str
    mode: str
    source: Source

    @property
    def of_arm(self) -> tuple[str, ...]:
        """Values of ``ARM_LABELS``."""
        return (self.comparison, self.arm, self.backbone, self.mode, self.source.value)

    def of_run(self, seed: int) -> tuple[str, ...]:
        """Return the values of ``RUN_LABELS``."""
        return (self.comparison, self.arm, self.backbone, self.mode, str(seed), self.source.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSnapshot:
    """One run at one moment. What is None is not known, and not shown."""

    seed: int
    dataset: str
    revision: str | None
    """Pinned revision of the backbone."""
    step: int | None
    """Last step of the curve, or of the result where the curve is gone."""
    accuracy: float | None
    curve: ThinnedCurve
    num_planned: int
    """Points of a complete curve."""
    is_complete: bool
    last_step_at: float | None
    """Unix time, seconds."""


def add_run(samples: Samples, labels: ArmLabels, run: RunSnapshot) -> None:
    """Add everything that both sources say of a run."""
    of_run = labels.of_run(run.seed)
    if run.revision is not None:
        samples.add(names.RUN_INFO, (*of_run, run.dataset, run.revision), 1)
    samples.add(names.TRAINING_STEP, of_run, run.step)
    samples.add(names.EVAL_ACCURACY, of_run, run.accuracy)
    for step, accuracy in zip(run.curve.steps, run.curve.accuracies, strict=True):
        samples.add(names.EVAL_ACCURACY_BY_STEP, (*of_run, str(step)), accuracy)
    samples.add(names.EVAL_POINTS_PLANNED, of_run, run.num_planned)
    samples.add(names.EVAL_POINTS_DROPPED, of_run, run.curve.num_dropped)
    samples.add(names.RUN_COMPLETE, of_run, run.is_complete)
    samples.add(names.LAST_STEP_TIMESTAMP, of_run, run.last_step_at)
