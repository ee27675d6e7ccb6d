"""The loop that every arm goes through, with real heads on made-up features.

Shapes: ``N`` examples, ``D`` features.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from training_steps import make_update
from worker.checkpoint import CheckpointFolder
from worker.contract.plan import TrainingSettings
from worker.contract.results import EvalPoint
from worker.evaluate import Evaluation
from worker.frozen import FrozenTrainer
from worker.splits import SPLITS, Split
from worker.traces import RunKey, RunTrace, choose, leader
from worker.trainer import Observer, train_runs

NUM_CLASSES, D = 3, 8
SIZES: dict[Split, int] = {"train": 60, "validation": 30, "test": 30}
CENTRES = torch.randn(NUM_CLASSES, D, generator=torch.Generator().manual_seed(0))
SETTINGS = TrainingSettings(steps=10, batch_size=8, warmup_steps=0, head_lr=(0.05,))
EXPLODING = TrainingSettings(
    steps=60, batch_size=8, warmup_steps=0, schedule="constant", weight_decay=1.0, max_grad_norm=1e30
)
"""With a learning rate of 10, decay multiplies the weights by -9 at each update: they overflow within 45."""


def make_trainer(*keys: RunKey, settings: TrainingSettings = SETTINGS) -> FrozenTrainer:
    """Heads on features that scatter around one centre per class."""
    generator = torch.Generator().manual_seed(1)
    targets = {split: torch.randint(NUM_CLASSES, (SIZES[split],), generator=generator) for split in SPLITS}
    features = {split: CENTRES[targets[split]] + torch.randn(SIZES[split], D, generator=generator) for split in SPLITS}
    return FrozenTrainer(keys, features, targets, NUM_CLASSES, settings)


def train(
    *keys: RunKey, settings: TrainingSettings = SETTINGS, observe: Observer = lambda _step, _traces: None
) -> list[RunTrace]:
    """Train from step 0 in one go."""
    trainer = make_trainer(*keys, settings=settings)
    with TemporaryDirectory() as folder:
        return train_runs(trainer, settings, observe, CheckpointFolder(Path(folder), interval_seconds=3600))


def make_trace(head_lr: float, *scores: tuple[float, float], diverged_at_step: int | None = None) -> RunTrace:
    """A run with an accuracy and a loss at each step."""
    trace = RunTrace(RunKey(0, head_lr, None), diverged_at_step=diverged_at_step)
    for step, (accuracy, loss) in enumerate(scores):
        trace.points.append(EvalPoint(step=step, validation_accuracy=accuracy, validation_loss=loss))
        trace.validation["last"] = (step, Evaluation(torch.empty(0), accuracy, loss))
    return trace


def test_the_curve_has_one_row_per_step_from_0_and_validation_where_it_is_due() -> None:
    settings = SETTINGS.model_copy(update={"eval_every": 4})
    (trace,) = train(RunKey(0, 0.05, None), settings=settings)

    assert [point.step for point in trace.points] == list(range(11))
    assert [point.step for point in trace.points if point.validation_accuracy is not None] == [0, 4, 8, 10]
    assert [point.step for point in trace.points if point.train_loss is None] == [0]
    assert all((point.train_accuracy is None) == (point.train_loss is None) for point in trace.points)


def test_observers_see_every_step_as_soon_as_it_is_made() -> None:
    seen: list[tuple[int, int]] = []

    def observe(step: int, traces: Sequence[RunTrace]) -> None:
        seen.append((step, traces[0].points[-1].step))

    train(RunKey(0, 0.05, None), observe=observe)

    assert seen == [(step, step) for step in range(11)]


@pytest.mark.parametrize(("head_lr", "expected"), [(0.05, 1), (0.3, 5)])
def test_the_best_step_is_the_first_with_the_highest_validation_accuracy(head_lr: float, expected: int) -> None:
    (trace,) = train(RunKey(2, head_lr, None))
    accuracies = [point.validation_accuracy for point in trace.points if point.validation_accuracy is not None]
    step, evaluation = trace.validation["best"]

    assert (step, evaluation.accuracy) == (expected, max(accuracies))
    assert step == accuracies.index(max(accuracies))
    assert trace.validation["start"][0] == 0
    assert trace.validation["last"][0] == 10


def test_test_is_scored_with_the_weights_of_the_best_and_of_the_last_validation_step() -> None:
    settings = SETTINGS.model_copy(update={"schedule": "constant"})
    (trace,) = train(RunKey(0, 1.0, None), settings=settings)
    best_step, _ = trace.validation["best"]
    stopped = settings.model_copy(update={"steps": best_step})
    (until_best,) = train(RunKey(0, 1.0, None), settings=stopped)

    assert 0 < best_step < settings.steps
    assert trace.test["best"][0] == best_step
    assert trace.test["best"][1].loss == until_best.test["last"][1].loss
    assert trace.test["last"][0] == settings.steps
    assert trace.test["last"][1].loss != trace.test["best"][1].loss


def test_a_run_that_diverges_stops_there_and_does_not_change_a_bit_of_the_others() -> None:
    sound, wild = RunKey(0, 0.01, None), RunKey(0, 10.0, None)
    broken, beside, other = train(wild, sound, sound._replace(seed=1), settings=EXPLODING)
    alone = [train(key, settings=EXPLODING)[0] for key in (sound, sound._replace(seed=1))]

    assert broken.diverged_at_step is not None
    assert 30 < broken.diverged_at_step <= 60
    assert [point.step for point in broken.points] == list(range(broken.diverged_at_step))
    assert broken.candidate().last is None
    assert broken.candidate().diverged_at_step == broken.diverged_at_step
    assert not broken.test
    assert (beside.points, other.points) == (alone[0].points, alone[1].points)
    assert beside.test["last"][1].loss == alone[0].test["last"][1].loss
    assert beside.candidate() == alone[0].candidate()


def test_training_ends_when_every_run_has_diverged() -> None:
    steps: list[int] = []
    runs = (RunKey(0, 10.0, None), RunKey(1, 10.0, None))
    traces = train(*runs, settings=EXPLODING, observe=lambda step, _traces: steps.append(step))

    assert steps[-1] < EXPLODING.steps
    assert choose(traces) is None


def test_the_train_scores_are_of_the_batch_as_the_update_found_it() -> None:
    settings = SETTINGS.model_copy(update={"batch_size": SIZES["train"]})
    (trace,) = train(RunKey(0, 0.05, None), settings=settings)
    trainer = make_trainer(RunKey(0, 0.05, None), settings=settings)
    (untrained,) = trainer.evaluate("train")
    (first,) = make_update(trainer, 1)

    assert (trace.points[1].train_accuracy, trace.points[1].train_loss) == (first.accuracy, first.loss)
    assert first.accuracy == untrained.accuracy
    assert first.loss == pytest.approx(untrained.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("traces", "expected"),
    [
        ([make_trace(1, (0.9, 0.5), (0.6, 0.1)), make_trace(2, (0.2, 9.0), (0.7, 2.0))], 2),
        ([make_trace(1, (0.7, 0.5)), make_trace(2, (0.7, 0.4))], 2),
        ([make_trace(1, (0.7, 0.5)), make_trace(2, (0.7, 0.5))], 1),
        ([make_trace(1, (0.9, 0.1), diverged_at_step=3), make_trace(2, (0.1, 2.0))], 2),
    ],
    ids=["last accuracy, not best", "of equals the lower loss", "then the first", "never one that diverged"],
)
def test_the_candidate_that_counts_is_the_best_on_validation_at_the_last_step(
    traces: list[RunTrace], expected: float
) -> None:
    chosen = choose(traces)

    assert chosen is not None
    assert chosen.key.head_lr == expected
    assert leader(traces) is chosen


def test_a_curve_is_shown_even_when_all_have_diverged_or_none_was_scored() -> None:
    traces = [make_trace(1, diverged_at_step=1), make_trace(2, (0.5, 1.0), diverged_at_step=4)]

    assert choose(traces) is None
    assert leader(traces) is traces[0]
    assert leader([make_trace(3)]).key.head_lr == 3
