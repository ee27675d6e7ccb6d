"""What every arm shares step by step: which examples, at what share of the learning rate, and what decays. Pure."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.contract.plan import Schedule, TrainingSettings


def batch_rows(num_examples: int, batch_size: int, steps: int, seed: int) -> Tensor:
    """Return the train rows of every update, ``[steps, batch_size]``: one shuffled epoch after the other.

    Depends on nothing but its arguments, so every arm sees the same examples in the same order for one seed.
    A batch may span two epochs, so that each has the same size.
    """
    generator = torch.Generator().manual_seed(seed)
    needed = steps * batch_size
    epochs = [torch.randperm(num_examples, generator=generator) for _ in range(math.ceil(needed / num_examples))]
    return torch.cat(epochs)[:needed].view(steps, batch_size)


def warm_up_and_decay(step: int, steps: int, warmup_steps: int, schedule: Schedule, final_ratio: float) -> float:
    """Return the share of the peak learning rate that update number ``step`` (from 1) uses.

    Rises linearly to 1 at ``warmup_steps``, then falls to ``final_ratio`` at the last step.
    """
    if step <= warmup_steps:
        return step / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    remaining = 1 - progress if schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return final_ratio + (1 - final_ratio) * remaining


def lr_factor(step: int, settings: TrainingSettings) -> float:
    """Return the share of the peak learning rate that update number ``step`` (from 1) of an arm uses."""
    return warm_up_and_decay(step, settings.steps, settings.warmup_steps, settings.schedule, settings.final_lr_ratio)


def parameter_groups(module: nn.Module, lr: float, weight_decay: float) -> Iterator[dict[str, Any]]:
    """Yield AdamW groups of a module's trainable parameters: matrices decay, vectors (biases, norms) do not."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for decay, group in (
        (weight_decay, [parameter for parameter in trainable if parameter.ndim > 1]),
        (0.0, [parameter for parameter in trainable if parameter.ndim <= 1]),
    ):
        if group:
            yield {"params": group, "lr": lr, "peak_lr": lr, "weight_decay": decay}


def set_learning_rates(optimizer: Optimizer, factor: float) -> None:
    """Set the rate of every group that ``parameter_groups`` made to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
