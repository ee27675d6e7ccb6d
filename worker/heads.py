"""A stack of linear heads that are trained side by side, each at its own learning rate.

Shapes: ``R`` heads, ``B`` batch, ``N`` examples, ``D`` features, ``C`` classes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Source: torch.optim.AdamW, default arguments."""


def linear(features: Tensor, weight_RDC: Tensor, bias_R1C: Tensor) -> Tensor:
    """Return the logits of a stack of heads, ``[R, B, C]`` or ``[R, N, C]``."""
    return torch.matmul(features, weight_RDC) + bias_R1C


class HeadStack:
    """Linear heads in one tensor, so that many cost hardly more than one, with their AdamW.

    ``torch.optim.AdamW`` has one learning rate per tensor, and its first use loads torch's compiler, which takes longer
    than these heads take to train. A test holds the two equal.

    Args:
        heads: Untrained heads of one shape.
        peak_lr_R: Peak learning rate of each.
        weight_decay: Of the weights; biases do not decay.
        max_grad_norm: A head's gradient of a longer norm is scaled down to it.
    """

    def __init__(
        self, heads: Sequence[nn.Linear], peak_lr_R: Sequence[float], weight_decay: float, max_grad_norm: float
    ) -> None:
        """Copy the heads' weights; the optimizer's moments start at 0."""
        self.weight_RDC = torch.stack([head.weight.detach().T for head in heads]).requires_grad_()
        self.bias_R1C = torch.stack([head.bias.detach() for head in heads]).unsqueeze(1).requires_grad_()
        self._peak_lr_R11 = torch.tensor(peak_lr_R, device=self.bias_R1C.device).view(-1, 1, 1)
        self._decays = (weight_decay, 0.0)
        self._max_grad_norm = max_grad_norm
        self._moments = [(torch.zeros_like(value), torch.zeros_like(value)) for value in self._values]
        self._num_updates = 0

    @property
    def _values(self) -> tuple[Tensor, Tensor]:
        return self.weight_RDC, self.bias_R1C

    def logits(self, features: Tensor) -> Tensor:
        """Return each head's logits: on its own batch ``[R, B, D]``, or of all heads on one ``[N, D]``."""
        return linear(features, self.weight_RDC, self.bias_R1C)

    def update(self, losses_R: Tensor, lr_factor: float) -> None:
        """Make one AdamW update of every head whose loss is finite; the others keep their weights.

        Args:
            losses_R: Each head's mean loss, with the graph that leads to its weights.
            lr_factor: Share of the peak learning rates.
        """
        gradients = torch.autograd.grad(losses_R.sum(), self._values)
        self._num_updates += 1
        correction1, correction2 = 1 - BETA1**self._num_updates, 1 - BETA2**self._num_updates
        with torch.no_grad():
            lr_R11 = self._peak_lr_R11 * lr_factor
            is_finite_R11 = losses_R.isfinite().view(-1, 1, 1)
            squares = [gradient.square().sum(dim=(1, 2), keepdim=True) for gradient in gradients]
            norm_R11 = torch.stack(squares).sum(dim=0).sqrt()
            scale_R11 = (self._max_grad_norm / (norm_R11 + 1e-6)).clamp(max=1.0)
            for value, gradient, (mean, square), decay in zip(
                self._values, gradients, self._moments, self._decays, strict=True
            ):
                clipped = torch.where(is_finite_R11, gradient * scale_R11, 0.0)
                mean.lerp_(clipped, 1 - BETA1)
                square.mul_(BETA2).addcmul_(clipped, clipped, value=1 - BETA2)
                denominator = square.sqrt() / math.sqrt(correction2) + EPSILON
                updated = value * (1 - lr_R11 * decay) - lr_R11 / correction1 * (mean / denominator)
                value.copy_(torch.where(is_finite_R11, updated, value))

    def state(self) -> dict[str, Any]:
        """Return weights, moments and the number of updates, as a checkpoint holds them."""
        return {"values": self._detached(), "num_updates": self._num_updates}

    def load_state(self, state: dict[str, Any]) -> None:
        """Become what ``state`` was taken of."""
        for kept, value in zip(self._detached(), state["values"], strict=True):
            kept.copy_(value)
        self._num_updates = state["num_updates"]

    def _detached(self) -> list[Tensor]:
        """Return every tensor that an update changes, without its graph."""
        return [value.detach() for value in self._values] + [moment for pair in self._moments for moment in pair]
