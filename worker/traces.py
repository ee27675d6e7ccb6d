"""What trainings show while they go on: their curves, the evaluations that count, and where they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

from worker.contract.results import Candidate, EvalPoint
from worker.contract.store import encode_rows
from worker.evaluate import Evaluation

Moment = Literal["start", "best", "last"]
Evaluations = dict[Moment, tuple[int, Evaluation]]
"""Step and evaluation at the moments that a result names."""


class RunKey(NamedTuple):
    """One training: a seed and a pair of peak learning rates."""

    seed: int
    head_lr: float
    backbone_lr: float | None


class BatchScore(NamedTuple):
    """A train batch as an update found it."""

    loss: float
    accuracy: float

    @property
    def is_finite(self) -> bool:
        """Whether the update could be made."""
        return math.isfinite(self.loss)


@dataclass(slots=True)
class RunTrace:
    """What one run has shown so far."""

    key: RunKey
    points: list[EvalPoint] = field(default_factory=list)
    diverged_at_step: int | None = None
    validation: Evaluations = field(default_factory=dict)
    test: Evaluations = field(default_factory=dict)
    """At the best validation step and at the last: scored, never chosen by."""

    def candidate(self) -> Candidate:
        """Return the run's learning rates and how far they came."""
        has_ended = self.diverged_at_step is None and "last" in self.validation
        step, last = self.validation["last"] if has_ended else (0, None)
        return Candidate(
            head_lr=self.key.head_lr,
            backbone_lr=self.key.backbone_lr,
            last=last.score(step) if last else None,
            diverged_at_step=self.diverged_at_step,
        )

    def record(self, step: int, evaluation: Evaluation | None, score: BatchScore | None) -> bool:
        """Add a step's row, unless the run has diverged.

        Returns:
            Whether the run is better on validation than ever before.
        """
        if self.diverged_at_step is None and evaluation and not math.isfinite(evaluation.loss):
            self.diverged_at_step = step
        if self.diverged_at_step is not None:
            return False
        self.points.append(
            EvalPoint(
                step=step,
                validation_accuracy=evaluation.accuracy if evaluation else None,
                validation_loss=evaluation.loss if evaluation else None,
                train_accuracy=score.accuracy if score else None,
                train_loss=score.loss if score else None,
            )
        )
        if evaluation is None:
            return False
        self.validation["last"] = (step, evaluation)
        self.validation.setdefault("start", (step, evaluation))
        is_best = "best" not in self.validation or evaluation.accuracy > self.validation["best"][1].accuracy
        if is_best:
            self.validation["best"] = (step, evaluation)
        return is_best

    def state(self) -> dict[str, Any]:
        """Return everything as a checkpoint holds it."""
        return {
            "key": tuple(self.key),
            "points": encode_rows(self.points).decode(),
            "diverged_at_step": self.diverged_at_step,
            "validation": _evaluations_state(self.validation),
            "test": _evaluations_state(self.test),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return what ``state`` was made of."""
        return cls(
            RunKey(*state["key"]),
            [EvalPoint.model_validate_json(line) for line in state["points"].splitlines()],
            state["diverged_at_step"],
            _evaluations_from(state["validation"]),
            _evaluations_from(state["test"]),
        )


@dataclass(slots=True)
class TrainingState:
    """Where the loop is: with the trainer's weights, everything that the rest of a training depends on."""

    traces: list[RunTrace]
    step: int = 0
    """Updates made."""
    batch_scores: list[BatchScore] | None = None
    """What the last update found."""
    is_recorded: bool = False
    """Whether this step's row is in the traces."""

    @property
    def has_diverged(self) -> bool:
        """Whether no run is left that could go on."""
        return all(trace.diverged_at_step is not None for trace in self.traces)

    def record(self, evaluations: Sequence[Evaluation] | None) -> list[int]:
        """Add this step's row to every trace that is still going.

        Returns:
            Indices of the runs that are better on validation than ever before.
        """
        self.is_recorded = True
        return [
            index
            for index, trace in enumerate(self.traces)
            if trace.record(
                self.step,
                evaluations[index] if evaluations else None,
                self.batch_scores[index] if self.batch_scores else None,
            )
        ]

    def advance(self, batch_scores: list[BatchScore]) -> None:
        """Put down that one more update has been made."""
        self.step += 1
        self.batch_scores = batch_scores
        self.is_recorded = False
        for trace, score in zip(self.traces, batch_scores, strict=True):
            if trace.diverged_at_step is None and not score.is_finite:
                trace.diverged_at_step = self.step

    def state(self) -> dict[str, Any]:
        """Return everything as a checkpoint holds it."""
        return {
            "traces": [trace.state() for trace in self.traces],
            "step": self.step,
            "batch_scores": [tuple(score) for score in self.batch_scores or ()],
            "is_recorded": self.is_recorded,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return what ``state`` was made of."""
        return cls(
            [RunTrace.from_state(trace) for trace in state["traces"]],
            state["step"],
            [BatchScore(*score) for score in state["batch_scores"]] or None,
            state["is_recorded"],
        )


def choose(traces: Sequence[RunTrace]) -> RunTrace | None:
    """Return the candidate that counts: highest last validation accuracy, then lowest last validation loss, then first.

    Returns:
        None if every candidate diverged.
    """
    finished = [trace for trace in traces if trace.diverged_at_step is None]
    return min(finished, key=_rank) if finished else None


def leader(traces: Sequence[RunTrace]) -> RunTrace:
    """Return the candidate whose curve is shown while training goes on: the one that ``choose`` would take now."""
    return choose([trace for trace in traces if "last" in trace.validation]) or traces[0]


def _rank(trace: RunTrace) -> tuple[float, float]:
    _, last = trace.validation["last"]
    return -last.accuracy, last.loss


def _evaluations_state(evaluations: Evaluations) -> dict[str, Any]:
    return {
        moment: {"step": step, "predicted_N": each.predicted_N, "accuracy": each.accuracy, "loss": each.loss}
        for moment, (step, each) in evaluations.items()
    }


def _evaluations_from(state: dict[Moment, Any]) -> Evaluations:
    return {
        moment: (each["step"], Evaluation(each["predicted_N"].clone(), each["accuracy"], each["loss"]))
        for moment, each in state.items()
    }
