"""The loop that every arm goes through: evaluate if due, record, stop if last, update. It can be left and resumed."""

from collections.abc import Callable, Sequence
from typing import Protocol

from worker.checkpoint import CheckpointFolder
from worker.checkpoint_files import State
from worker.contract.errors import FreezeBenchError
from worker.contract.plan import TrainingSettings
from worker.evaluate import Evaluation
from worker.lifecycle import Terminated, stop_if_told, uninterrupted
from worker.splits import Split
from worker.traces import BatchScore, Moment, RunKey, RunTrace, TrainingState

Observer = Callable[[int, Sequence[RunTrace]], None]
"""Told of every step: its number, and all traces."""


class Trainer(Protocol):
    """Trains one run or several side by side; a frozen and a live arm differ only here."""

    @property
    def keys(self) -> tuple[RunKey, ...]:
        """The runs, in the order of every list that the methods return."""

    def try_batch(self, step: int) -> list[BatchScore]:
        """Score the batch of update number ``step`` (from 1) and find its gradients. Changes nothing that stays."""

    def update(self) -> None:
        """Make the update of the batch that was tried last, in every run whose loss is finite."""

    def evaluate(self, split: Split) -> list[Evaluation]:
        """Score every run on a whole split."""

    def keep_best(self, runs: Sequence[int]) -> None:
        """Remember the present weights of some runs, by index, as those of their best validation step."""

    def evaluate_best(self, split: Split) -> list[Evaluation]:
        """Score every run on a whole split with the weights remembered; the present ones are there again afterwards."""

    def state(self) -> State:
        """Return everything that later updates depend on, as it was after the last update."""

    def load_state(self, state: State) -> None:
        """Become what ``state`` was taken of."""


def train_runs(
    trainer: Trainer, settings: TrainingSettings, observe: Observer, checkpoints: CheckpointFolder
) -> list[RunTrace]:
    """Train every run of a trainer to the last step, from step 0 or from where its newest checkpoint was.

    A run whose loss becomes infinite or undefined stops there; the others go on. The test split is scored in the end,
    with the weights of the last step and with those of each run's best validation step.

    Args:
        trainer: Holds models and data.
        settings: Steps, and when to evaluate.
        observe: Called after every step; after a resumption first with the step that was the last.
        checkpoints: Of this training. One is also left when the worker is told to stop, or its store is lost.

    Returns:
        One trace per key, in their order.
    """
    state = _resume(trainer, checkpoints)
    try:
        while True:
            stop_if_told()
            if not state.is_recorded:
                evaluations = trainer.evaluate("validation") if settings.is_eval_step(state.step) else None
                with uninterrupted():
                    if improved := state.record(evaluations):
                        trainer.keep_best(improved)
            observe(state.step, state.traces)
            if state.step == settings.steps or state.has_diverged:
                break
            if checkpoints.is_due():
                _save(trainer, state, checkpoints)
            batch_scores = trainer.try_batch(state.step + 1)
            with uninterrupted():
                trainer.update()
                state.advance(batch_scores)
        _score_test(state.traces, "last", trainer.evaluate)
        _score_test(state.traces, "best", trainer.evaluate_best)
    except (Terminated, FreezeBenchError):
        _save(trainer, state, checkpoints)
        raise
    return state.traces


def _resume(trainer: Trainer, checkpoints: CheckpointFolder) -> TrainingState:
    saved = checkpoints.read_newest()
    if saved is None:
        return TrainingState([RunTrace(key) for key in trainer.keys])
    trainer.load_state(saved["trainer"])
    return TrainingState.from_state(saved["loop"])


def _save(trainer: Trainer, state: TrainingState, checkpoints: CheckpointFolder) -> None:
    """Keep this moment, unless it was the last that was kept."""
    moment = (state.step, state.is_recorded)
    if moment != checkpoints.newest_moment:
        checkpoints.write(state.step, {"loop": state.state(), "trainer": trainer.state()}, moment)


def _score_test(traces: Sequence[RunTrace], moment: Moment, evaluate: Callable[[Split], list[Evaluation]]) -> None:
    """Score the test split for every run that has not diverged."""
    if all(trace.diverged_at_step is not None for trace in traces):
        return
    for trace, evaluation in zip(traces, evaluate("test"), strict=True):
        if trace.diverged_at_step is None:
            step, _ = trace.validation[moment]
            trace.test[moment] = (step, evaluation)
