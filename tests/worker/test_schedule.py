"""What every arm shares step by step: the order of examples, the learning rate, what decays."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from worker.contract.plan import TrainingSettings
from worker.schedule import batch_rows, lr_factor, parameter_groups, set_learning_rates


@given(
    num_examples=st.integers(1, 50), batch_size=st.integers(1, 70), steps=st.integers(1, 20), seed=st.integers(0, 99)
)
@settings(deadline=None, max_examples=60)
def test_every_epoch_is_a_permutation_of_the_examples(
    num_examples: int, batch_size: int, steps: int, seed: int
) -> None:
    rows = batch_rows(num_examples, batch_size, steps, seed)
    order = rows.flatten()

    assert rows.shape == (steps, batch_size)
    for epoch in order.split(num_examples):
        assert len(set(epoch.tolist())) == len(epoch)
    assert set(order.tolist()) <= set(range(num_examples))
    assert len(order) < num_examples or set(order[:num_examples].tolist()) == set(range(num_examples))


def test_the_order_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = batch_rows(100, 8, 30, seed=5)
    torch.manual_seed(2)
    torch.rand(3)

    assert torch.equal(batch_rows(100, 8, 30, seed=5), first)
    assert not torch.equal(batch_rows(100, 8, 30, seed=6), first)
    assert not torch.equal(first.flatten()[:100], first.flatten()[100:200])


def test_more_steps_go_on_where_fewer_ended() -> None:
    assert torch.equal(batch_rows(20, 8, 30, seed=0)[:10], batch_rows(20, 8, 10, seed=0))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 8, "warmup_steps": 4, "schedule": "constant"}, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        ({"steps": 6, "warmup_steps": 2, "schedule": "linear", "final_lr_ratio": 0.2}, [0.5, 1, 0.8, 0.6, 0.4, 0.2]),
        ({"steps": 4, "warmup_steps": 0, "schedule": "cosine", "final_lr_ratio": 0}, [0.853553, 0.5, 0.146447, 0]),
        (
            {"steps": 5, "warmup_steps": 1, "schedule": "cosine", "final_lr_ratio": 0.1},
            [1, 0.868198, 0.55, 0.231802, 0.1],
        ),
        ({"steps": 2, "warmup_steps": 2, "schedule": "cosine"}, [0.5, 1]),
    ],
)
def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_end(
    settings: dict[str, Any], expected: list[float]
) -> None:
    training = TrainingSettings.model_validate(settings)

    assert [lr_factor(step, training) for step in range(1, training.steps + 1)] == pytest.approx(expected, abs=1e-6)


def test_matrices_decay_and_vectors_do_not() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    module[2].requires_grad_(requires_grad=False)
    decayed, plain = parameter_groups(module, lr=0.1, weight_decay=0.5)

    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.5, 0.0)
    assert [id(parameter) for parameter in decayed["params"]] == [id(module[0].weight)]
    assert {id(parameter) for parameter in plain["params"]} == {
        id(module[0].bias),
        id(module[1].weight),
        id(module[1].bias),
    }


def test_every_group_keeps_its_own_peak() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [*parameter_groups(first, 0.1, 0.0), *parameter_groups(second, 0.4, 0.0)]
    optimizer = torch.optim.SGD(groups)
    set_learning_rates(optimizer, 0.5)
    set_learning_rates(optimizer, 0.25)

    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.025, 0.1, 0.1]
