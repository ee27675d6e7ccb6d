"""Accuracy and loss, per example.

Shapes: ``R`` runs side by side, ``N`` examples, ``C`` classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worker.contract.results import Score


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one run's model said of every example of a split."""

    predicted_N: Tensor
    """Class indices, int64, on the CPU."""
    accuracy: float
    """Correct examples over all examples; each counts once, however they were batched."""
    loss: float
    """Mean cross-entropy in nats per example."""

    def score(self, step: int) -> Score:
        """Return the numbers as a record."""
        return Score(step=step, accuracy=self.accuracy, loss=self.loss)


def evaluate_logits(logits_RNC: Tensor, target_N: Tensor) -> list[Evaluation]:
    """Score the logits of several runs on the same examples.

    Returns:
        One evaluation per run. A run whose logits are not finite has a loss that is not finite.
    """
    predicted_RN = logits_RNC.argmax(dim=-1)
    num_correct_R = (predicted_RN == target_N).sum(dim=1).tolist()
    losses_R = [
        torch.nn.functional.cross_entropy(logits_NC.to(torch.float32), target_N).item() for logits_NC in logits_RNC
    ]
    return [
        Evaluation(predicted_N, num_correct / len(target_N), loss)
        for predicted_N, num_correct, loss in zip(predicted_RN.cpu(), num_correct_R, losses_R, strict=True)
    ]
