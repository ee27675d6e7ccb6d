"""Heads trained side by side: each as torch.optim.AdamW would train it alone.

Shapes: ``R`` heads, ``B`` batch, ``D`` features, ``C`` classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worker.heads import HeadStack
from worker.model import new_head

NUM_STEPS, R, B, D, C = 50, 3, 16, 12, 4
PEAK_LRS = (0.003, 0.03, 0.3)
WEIGHT_DECAY, MAX_GRAD_NORM = 0.1, 2.0


def make_heads() -> list[nn.Linear]:
    return [new_head(D, C, seed) for seed in range(R)]


def make_batches(num_steps: int) -> list[tuple[Tensor, Tensor]]:
    """Features ``[R, B, D]`` and targets ``[R, B]``: every head has its own batch, some gradients get clipped."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(R, B, D, generator=generator) * 3, torch.randint(C, (R, B), generator=generator))
        for _ in range(num_steps)
    ]


def lr_factor(step: int) -> float:
    return min(1.0, step / 5)


def losses(logits_RBC: Tensor, target_RB: Tensor) -> Tensor:
    return torch.stack([nn.functional.cross_entropy(*pair) for pair in zip(logits_RBC, target_RB, strict=True)])


def train_stack(stack: HeadStack, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    for step, (features_RBD, target_RB) in enumerate(batches, start=1):
        stack.update(losses(stack.logits(features_RBD), target_RB), lr_factor(step))


def test_every_head_is_trained_as_by_adamw_with_clipping() -> None:
    batches = make_batches(NUM_STEPS)
    stack = HeadStack(make_heads(), PEAK_LRS, WEIGHT_DECAY, MAX_GRAD_NORM)
    train_stack(stack, batches)
    clipped = 0
    for index, head in enumerate(make_heads()):
        optimizer = torch.optim.AdamW(
            [
                {"params": [head.weight], "weight_decay": WEIGHT_DECAY},
                {"params": [head.bias], "weight_decay": 0.0},
            ]
        )
        for step, (features_RBD, target_RB) in enumerate(batches, start=1):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features_RBD[index]), target_RB[index]).backward()
            clipped += int(nn.utils.clip_grad_norm_(head.parameters(), MAX_GRAD_NORM) > MAX_GRAD_NORM)
            for group in optimizer.param_groups:
                group["lr"] = PEAK_LRS[index] * lr_factor(step)
            optimizer.step()
        torch.testing.assert_close(stack.weight_RDC[index].T, head.weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(stack.bias_R1C[index, 0], head.bias, rtol=1e-5, atol=1e-6)
    assert R < clipped < R * NUM_STEPS, "the comparison needs both gradients that are clipped and some that are not"


def test_a_head_is_trained_alike_alone_and_among_others() -> None:
    batches = make_batches(NUM_STEPS)
    together = HeadStack(make_heads(), PEAK_LRS, WEIGHT_DECAY, MAX_GRAD_NORM)
    train_stack(together, batches)
    for index, head in enumerate(make_heads()):
        alone = HeadStack([head], PEAK_LRS[index : index + 1], WEIGHT_DECAY, MAX_GRAD_NORM)
        train_stack(alone, [(features[index : index + 1], targets[index : index + 1]) for features, targets in batches])

        assert torch.equal(alone.weight_RDC[0], together.weight_RDC[index])
        assert torch.equal(alone.bias_R1C[0], together.bias_R1C[index])


def test_a_head_whose_loss_is_not_finite_keeps_its_weights_and_leaves_the_others_alone() -> None:
    batches = make_batches(6)
    broken = [(features.clone(), targets) for features, targets in batches]
    for features, _ in broken[2:]:
        features[1] = torch.inf
    sound, stack = (HeadStack(make_heads(), PEAK_LRS, WEIGHT_DECAY, MAX_GRAD_NORM) for _ in range(2))
    train_stack(sound, batches)
    train_stack(stack, broken[:2])
    kept = stack.weight_RDC[1].clone(), stack.bias_R1C[1].clone()
    train_stack(stack, broken[2:])

    assert torch.equal(stack.weight_RDC[1], kept[0])
    assert torch.equal(stack.bias_R1C[1], kept[1])


def test_the_heads_that_it_is_made_of_stay_as_they_are() -> None:
    heads = make_heads()
    before = [head.weight.clone() for head in heads]
    train_stack(HeadStack(heads, PEAK_LRS, WEIGHT_DECAY, MAX_GRAD_NORM), make_batches(2))

    assert all(torch.equal(head.weight, old) for head, old in zip(heads, before, strict=True))
