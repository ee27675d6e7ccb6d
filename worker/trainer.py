"""The loop that every arm goes through: evaluate if due, stop if last, update, record."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from worker.contract.plan import TrainingSettings
from worker.contract.results import Candidate, EvalPoint
from worker.evaluate import Evaluation
from worker.splits import Split

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


class Trainer(Protocol):
    """Trains one run or several side by side; a frozen and a live arm differ only here."""

    @property
    def keys(self) -> tuple[RunKey, ...]:
        """The runs, in the order of every list that the methods return."""

    def train_step(self, step: int) -> list[BatchScore]:
        """Make update number ``step`` (from 1) of every run."""

    def evaluate(self, split: Split) -> list[Evaluation]:
        """Score every run on a whole split."""

    def keep_best(self, runs: Sequence[int]) -> None:
        """Remember the present weights of some runs, by index, as those of their best validation step."""

    def evaluate_best(self, split: Split) -> list[Evaluation]:
        """Score every run on a whole split with the weights remembered. The last call of a trainer."""


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


def train_runs(
    trainer: Trainer, settings: TrainingSettings, observe: Callable[[int, Sequence[RunTrace]], None]
) -> list[RunTrace]:
    """Train every run of a trainer from step 0 to the last.

    A run whose loss becomes infinite or undefined stops there; the others go on. The test split is scored after the
    last step; ``score_best_steps`` adds the best one.

    Args:
        trainer: Holds models and data.
        settings: Steps, and when to evaluate.
        observe: Called after every step with its number and all traces.

    Returns:
        One trace per key, in their order.
    """
    traces = [RunTrace(key) for key in trainer.keys]
    batch_scores: list[BatchScore] | None = None
    for step in range(settings.steps + 1):
        evaluations = trainer.evaluate("validation") if settings.is_eval_step(step) else None
        if improved := _record(traces, step, evaluations, batch_scores):
            trainer.keep_best(improved)
        observe(step, traces)
        if step == settings.steps or all(trace.diverged_at_step is not None for trace in traces):
            break
        batch_scores = trainer.train_step(step + 1)
        for trace, score in zip(traces, batch_scores, strict=True):
            if trace.diverged_at_step is None and not score.is_finite:
                trace.diverged_at_step = step + 1
    _score_test(traces, "last", trainer.evaluate)
    return traces


def score_best_steps(trainer: Trainer, traces: Sequence[RunTrace]) -> None:
    """Score the test split with the weights of each run's best validation step."""
    _score_test(traces, "best", trainer.evaluate_best)


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


def _score_test(traces: Sequence[RunTrace], moment: Moment, evaluate: Callable[[Split], list[Evaluation]]) -> None:
    """Score the test split for every run that has not diverged."""
    if all(trace.diverged_at_step is not None for trace in traces):
        return
    for trace, evaluation in zip(traces, evaluate("test"), strict=True):
        if trace.diverged_at_step is None:
            step, _ = trace.validation[moment]
            trace.test[moment] = (step, evaluation)


def _rank(trace: RunTrace) -> tuple[float, float]:
    _, last = trace.validation["last"]
    return -last.accuracy, last.loss


def _record(
    traces: Sequence[RunTrace],
    step: int,
    evaluations: list[Evaluation] | None,
    batch_scores: list[BatchScore] | None,
) -> list[int]:
    """Add this step's row to every trace that is still going.

    Returns:
        Indices of the runs that are better on validation than ever before.
    """
    improved: list[int] = []
    for index, trace in enumerate(traces):
        evaluation = evaluations[index] if evaluations else None
        if trace.diverged_at_step is None and evaluation and not math.isfinite(evaluation.loss):
            trace.diverged_at_step = step
        if trace.diverged_at_step is not None:
            continue
        score = batch_scores[index] if batch_scores else None
        trace.points.append(
            EvalPoint(
                step=step,
                validation_accuracy=evaluation.accuracy if evaluation else None,
                validation_loss=evaluation.loss if evaluation else None,
                train_accuracy=score.accuracy if score else None,
                train_loss=score.loss if score else None,
            )
        )
        if evaluation:
            trace.validation["last"] = (step, evaluation)
            trace.validation.setdefault("start", (step, evaluation))
            if "best" not in trace.validation or evaluation.accuracy > trace.validation["best"][1].accuracy:
                trace.validation["best"] = (step, evaluation)
                improved.append(index)
    return improved
