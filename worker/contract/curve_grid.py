"""Which points of a curve are exposed: fixed by the plan, so that a growing curve never changes its mind. Pure."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from worker.contract.metric_names import MAX_CURVE_POINTS
from worker.contract.plan import TrainingSettings
from worker.contract.results import EvalPoint


@dataclass(frozen=True, slots=True)
class ThinnedCurve:
    """The exposed points of a curve so far; as arrays, because a runner holds thousands."""

    steps: Sequence[int] = field(default_factory=lambda: array("l"))
    accuracies: Sequence[float] = field(default_factory=lambda: array("d"))
    """Of ``steps``, in their order."""
    num_dropped: int = 0
    """Scored points so far that are not among them."""
    last_step: int | None = None
    """Step that the curve has come to; None before step 0."""
    latest: float | None = None
    """Accuracy of the last scored point, exposed or not."""


@dataclass(frozen=True, slots=True)
class CurveGrid:
    """The exposed steps of a run: every k-th that is scored, always the first and the last.

    Thinned by what is planned and not by what has come so far: a curve that were thinned anew at every length would
    leave the union of all its grids in Prometheus.
    """

    eval_every: int
    last_step: int
    stride: int
    """Every ``stride``-th scored step is exposed."""

    @classmethod
    def of(cls, training: TrainingSettings, most: int = MAX_CURVE_POINTS) -> Self:
        """Return the grid of a run.

        Args:
            training: Its conditions.
            most: Exposed points at most, two or more.
        """
        num_planned = _count_scored(training.steps, training.eval_every, training.steps)
        stride = 1 if num_planned <= most else -(-(num_planned - 1) // (most - 1))
        return cls(training.eval_every, training.steps, stride)

    @property
    def num_planned(self) -> int:
        """Points of a complete curve, exposed or not."""
        return self.num_scored(self.last_step)

    def num_scored(self, step: int) -> int:
        """Return how many points have been scored when a run has come to ``step``."""
        return _count_scored(step, self.eval_every, self.last_step)

    def exposed_steps(self, step: int) -> Sequence[int]:
        """Return the exposed steps of a run that has come to ``step``."""
        steps = range(0, min(step, self.last_step) + 1, self.eval_every * self.stride)
        return steps if step < self.last_step or steps[-1] == self.last_step else (*steps, self.last_step)

    def thin(self, points: Sequence[EvalPoint]) -> ThinnedCurve:
        """Return the exposed points of a curve.

        Args:
            points: Every step from 0, in order, as far as the run has come.
        """
        if not points:
            return ThinnedCurve()
        last_step = points[-1].step
        scored = [
            (step, accuracy)
            for step in self.exposed_steps(last_step)
            if (accuracy := points[step].validation_accuracy) is not None
        ]
        latest = next((point for point in reversed(points) if point.validation_accuracy is not None), None)
        return ThinnedCurve(
            array("l", (step for step, _ in scored)),
            array("d", (accuracy for _, accuracy in scored)),
            self.num_scored(last_step) - len(scored),
            last_step,
            latest.validation_accuracy if latest else None,
        )


def _count_scored(step: int, eval_every: int, last_step: int) -> int:
    """Count the steps up to ``step`` at which validation is scored; as ``TrainingSettings.eval_steps`` lists them."""
    is_extra = step >= last_step and last_step % eval_every != 0
    return min(step, last_step) // eval_every + 1 + is_extra
