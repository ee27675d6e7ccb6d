"""Scores: per example, and of every run on its own."""

import math

import pytest
import torch

from worker.contract.results import Score
from worker.evaluate import evaluate_logits


def test_accuracy_is_correct_examples_over_all_and_loss_the_mean_in_nats() -> None:
    logits_NC = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
    (evaluation,) = evaluate_logits(logits_NC.unsqueeze(0), torch.tensor([0, 1, 1, 1, 0]))
    losses = [math.log1p(math.exp(-margin)) for margin in (2, 1, -3, 0.5, 1)]

    assert evaluation.predicted_N.tolist() == [0, 1, 0, 1, 0]
    assert evaluation.accuracy == 4 / 5
    assert evaluation.loss == pytest.approx(sum(losses) / 5, rel=1e-6)
    assert evaluation.score(step=7) == Score(step=7, accuracy=evaluation.accuracy, loss=evaluation.loss)


def test_a_run_that_is_not_finite_leaves_the_scores_of_the_others() -> None:
    sound = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    target_N = torch.tensor([0, 1, 2, 0, 1, 2])
    broken, beside = evaluate_logits(torch.stack([torch.full((6, 3), torch.nan), sound]), target_N)
    (alone,) = evaluate_logits(sound.unsqueeze(0), target_N)

    assert not math.isfinite(broken.loss)
    assert (beside.accuracy, beside.loss) == (alone.accuracy, alone.loss)
