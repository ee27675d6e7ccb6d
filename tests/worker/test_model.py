"""The model: pooling that sees no padding, a backbone that stays frozen, a fixed standardisation, a small head.

Shapes: ``B`` batch, ``T`` tokens, ``D`` hidden size.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tiny_repositories import ARCHITECTURES, make_repository
from worker.backbone import load_body, prepare_backbone
from worker.contract.arms import BackboneSpec
from worker.contract.config import PreparedBackbone, PreparedData
from worker.model import (
    HEAD_INIT_STD,
    PooledBackbone,
    Standardise,
    TextClassifier,
    new_head,
    num_parameters,
    pool_mean,
    weights_hash,
)
from worker.schedule import parameter_groups

LENGTHS = (5, 1, 9)
T = 12


@pytest.fixture
def frozen(backbone: PreparedBackbone, cache: Path) -> PooledBackbone:
    return PooledBackbone(load_body(cache, backbone, max_tokens=48), is_frozen=True)


def place(texts: list[Tensor], side: str, filler: float) -> tuple[Tensor, Tensor]:
    """Put texts, ``[tokens, ...]`` each, into one batch of width ``T``, padded on one side; and their mask."""
    batch = torch.full((len(texts), T, *texts[0].shape[1:]), filler, dtype=texts[0].dtype)
    mask_BT = torch.zeros(len(texts), T, dtype=torch.int64)
    for row, text in enumerate(texts):
        span = slice(0, len(text)) if side == "right" else slice(T - len(text), T)
        batch[row, span], mask_BT[row, span] = text, 1
    return batch, mask_BT


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("filler", [0.0, -3.5, 1e30])
def test_pooling_averages_real_tokens_whatever_pads_and_where(side: str, filler: float) -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randn(length, 6, generator=generator) for length in LENGTHS]
    hidden_BTD, mask_BT = place(texts, side, filler)

    torch.testing.assert_close(pool_mean(hidden_BTD, mask_BT), torch.stack([text.mean(dim=0) for text in texts]))


def test_pooling_adds_up_in_fp32_whatever_the_backbone_computes_in() -> None:
    hidden_BTD = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)
    hidden_BTD[0, 0] = 2.0
    pooled_BD = pool_mean(hidden_BTD, torch.ones(1, 4096, dtype=torch.int64))

    assert pooled_BD.dtype is torch.float32
    assert pooled_BD.item() == 4097 / 4096


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_are_the_same_with_padding_on_either_side_and_with_any_pad_token(
    tmp_path: Path, cache: Path, data: PreparedData, architecture: str
) -> None:
    folder = make_repository(tmp_path / architecture, architecture)
    prepared = prepare_backbone(BackboneSpec(source=str(folder)), data, cache)
    assert prepared is not None
    backbone = PooledBackbone(load_body(cache, prepared, max_tokens=48), is_frozen=True)
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(3, 200, (length,), generator=generator) for length in LENGTHS]
    with torch.inference_mode():
        alone_BD = torch.cat([backbone(ids.unsqueeze(0), torch.ones(1, len(ids))) for ids in texts])
        # 0 and 1 are end tokens of some families, 7 is an ordinary token.
        padded = [backbone(*place(texts, side, pad)) for side in ("right", "left") for pad in (0, 1, 7)]

    assert alone_BD.std(dim=0).min() > 1e-3
    for pooled_BD in padded:
        torch.testing.assert_close(pooled_BD, alone_BD, rtol=0, atol=1e-5)


def test_a_frozen_backbone_stays_in_evaluation_mode_inside_a_model_that_trains(frozen: PooledBackbone) -> None:
    head = new_head(32, 4, seed=0)
    model = TextClassifier(frozen, Standardise(torch.eye(32)), head).train()

    assert head.training
    assert not any(module.training for module in frozen.modules())
    assert {parameter for group in parameter_groups(model, 0.1, 0.0) for parameter in group["params"]} == {
        head.weight,
        head.bias,
    }


def test_a_frozen_backbone_has_no_gradients_and_its_weights_no_change(frozen: PooledBackbone) -> None:
    model = TextClassifier(frozen, Standardise(torch.eye(32)), new_head(32, 4, seed=0)).train()
    before = weights_hash(frozen)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    loss = model(torch.tensor([[5, 6, 7]]), torch.ones(1, 3)).square().sum()
    loss.backward()
    optimizer.step()

    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert model.head.weight.grad is not None
    assert weights_hash(frozen) == before


def test_a_live_backbone_trains_and_evaluates_as_it_is_told(backbone: PreparedBackbone, cache: Path) -> None:
    live = PooledBackbone(load_body(cache, backbone, max_tokens=48), is_frozen=False)

    assert not live.training
    assert live.train().body.training
    assert all(parameter.requires_grad for parameter in live.parameters())
    assert not live.eval().body.training


def test_the_hash_covers_names_values_types_and_buffers() -> None:
    def build(
        *, name: str = "inner", bias: float = 0.0, buffer: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> str:
        inner, outer = nn.Linear(2, 2), nn.Module()
        with torch.no_grad():
            inner.weight.fill_(1.0)
            inner.bias.fill_(bias)
        outer.register_module(name, inner)
        outer.register_buffer("not_in_checkpoints", torch.tensor([buffer]), persistent=False)
        return weights_hash(outer.to(dtype))

    assert build() == build()
    others = {build(name="other"), build(bias=1e-30), build(buffer=-0.0), build(dtype=torch.float64)}
    assert len(others | {build()}) == 5


def test_standardised_features_have_mean_0_and_deviation_1_over_train() -> None:
    train_ND = (
        torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-3, 0.1, 1, 10, 1e3, 1e4])
        + 100
    )
    standardise = Standardise(train_ND)
    values_ND = standardise(train_ND)

    torch.testing.assert_close(values_ND.mean(dim=0), torch.zeros(6), rtol=0, atol=2e-2)
    torch.testing.assert_close(values_ND[:, 1:].std(dim=0, correction=0), torch.ones(5), rtol=1e-3, atol=0)
    assert not list(standardise.parameters())
    assert set(standardise.state_dict()) == {"mean_D", "scale_D"}


def test_a_feature_that_does_not_vary_over_train_is_not_blown_up() -> None:
    train_ND = torch.tensor([[1.0, 2.0], [1.0, 4.0]])

    assert Standardise(train_ND)(torch.tensor([[1.5, 3.0]])).tolist() == [[0.5, 0.0]]


def test_a_head_depends_on_its_shape_and_seed_alone() -> None:
    torch.manual_seed(1)
    first = new_head(500, 40, seed=3)
    torch.manual_seed(2)

    assert torch.equal(new_head(500, 40, seed=3).weight, first.weight)
    assert not torch.equal(new_head(500, 40, seed=4).weight, first.weight)
    assert first.weight.std().item() == pytest.approx(HEAD_INIT_STD, rel=0.05)
    assert not first.bias.any()


def test_shared_parameters_are_counted_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight

    assert num_parameters(nn.Sequential(first, second)) == 9 + 3 + 3
