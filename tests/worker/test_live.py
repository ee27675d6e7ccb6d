"""Live arms: backbone and head in one model, trained and scored batch by batch.

Shapes: ``N`` examples, ``B`` batch, ``D`` hidden size.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from training_steps import make_update
from worker.arm_data import load_arm_tokens, load_labelled_splits
from worker.backbone import load_body
from worker.batches import pad, split_batch
from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.live import LiveSplits, LiveTrainer
from worker.model import PooledBackbone, Standardise, TextClassifier, new_head
from worker.splits import SPLITS
from worker.tokens import TokenizedTexts
from worker.traces import RunKey

KEY = RunKey(seed=0, head_lr=0.03, backbone_lr=1e-3)


@pytest.fixture
def config(make_config: Callable[..., RunConfig]) -> RunConfig:
    return make_config(Mode.LIVE, weight_decay=0.0)


@pytest.fixture
def model(config: RunConfig, cache: Path) -> TextClassifier:
    """A pretrained backbone under an untrained head; features are taken as they are."""
    backbone = PooledBackbone(load_body(cache, config.backbone, max_tokens=48), is_frozen=False)
    standardise = Standardise(torch.cat([-torch.ones(1, 32), torch.ones(1, 32)]))
    return TextClassifier(backbone, standardise, new_head(32, 4, KEY.seed))


@pytest.fixture
def splits(config: RunConfig, cache: Path) -> LiveSplits:
    tokens = {split: load_arm_tokens(config, split) for split in SPLITS}
    return LiveSplits(tokens, load_labelled_splits(cache, config.data).targets, tokens_per_batch=512)


def parameters_of(model: TextClassifier) -> Mapping[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_every_parameter_of_backbone_and_head_is_trained(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    before = parameters_of(model)
    trainer = LiveTrainer(KEY, model, splits, config.training, Accelerator(cpu=True))
    make_update(trainer, 1)
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}

    assert len(before) == 22
    assert {name for name, gradient in gradients.items() if gradient is None or not gradient.any()} == set()
    assert {name for name, value in parameters_of(model).items() if torch.equal(value, before[name])} == set()


def test_backbone_and_head_have_learning_rates_of_their_own(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    before = parameters_of(model)
    trainer = LiveTrainer(KEY, model, splits, config.training, Accelerator(cpu=True))
    make_update(trainer, 1)
    moved = {name: (value - before[name]).abs().max().item() for name, value in parameters_of(model).items()}

    # AdamW's first update moves each weight by its learning rate; one third of the peak in a warm-up of three steps.
    assert moved["head.weight"] == pytest.approx(0.03 / 3, rel=1e-3)
    assert moved["backbone.body.embed_tokens.weight"] == pytest.approx(1e-3 / 3, rel=1e-3)


def test_a_loss_that_is_not_finite_makes_no_update(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    with torch.no_grad():
        model.head.bias.fill_(torch.nan)
    before = parameters_of(model)
    trainer = LiveTrainer(KEY, model, splits, config.training, Accelerator(cpu=True))
    (score,) = make_update(trainer, 1)
    after = parameters_of(model)

    assert not score.is_finite
    assert {name for name in before if name != "head.bias" and not torch.equal(before[name], after[name])} == set()


def test_accuracy_counts_every_example_once_whatever_the_batches(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    generator = torch.Generator().manual_seed(0)
    five = TokenizedTexts(tuple(torch.randint(3, 200, (4,), generator=generator) for _ in range(5)), 0)
    with torch.inference_mode():
        predicted = [model(ids.unsqueeze(0), torch.ones(1, 4)).argmax().item() for ids in five.ids]
    # Batches of 2, 2 and 1: the mean over batches would be 2/3.
    target_N = torch.tensor([*predicted[:4], (predicted[4] + 1) % 4])
    texts = {**splits.texts, "validation": five, "test": five}
    targets = {**splits.targets, "validation": target_N, "test": target_N}
    trainer = LiveTrainer(KEY, model, LiveSplits(texts, targets, 8), config.training, Accelerator(cpu=True))
    (evaluation,) = trainer.evaluate("validation")

    assert evaluation.accuracy == 4 / 5
    assert evaluation.predicted_N.tolist() == predicted


def test_a_batch_that_is_trained_in_parts_has_the_gradients_of_the_whole(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [200, 3, 150, 20, 190, 5, 40, 60]
    mixed = TokenizedTexts(tuple(torch.randint(3, 200, (n,), generator=generator) for n in lengths), 0)
    target_N = torch.arange(8) % 4
    settings = config.training.model_copy(update={"batch_size": 8, "max_grad_norm": 1e9})
    mixed_splits = LiveSplits({**splits.texts, "train": mixed}, {**splits.targets, "train": target_N}, 512)
    whole = pad(mixed, range(8))
    model.train()
    logits_BC = model(whole.ids_BT, whole.mask_BT)
    loss = torch.nn.functional.cross_entropy(logits_BC, target_N)
    loss.backward()
    expected = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    trainer = LiveTrainer(KEY, model, mixed_splits, settings, Accelerator(cpu=True))
    (score,) = trainer.try_batch(1)

    assert len(split_batch(mixed, range(8))) > 1
    assert score.loss == pytest.approx(loss.item(), rel=1e-5)
    assert score.accuracy == (logits_BC.argmax(dim=-1) == target_N).sum().item() / 8
    torch.testing.assert_close([parameter.grad for parameter in model.parameters()], expected, rtol=1e-3, atol=1e-6)


def test_scores_come_in_the_order_of_the_examples(config: RunConfig, model: TextClassifier, splits: LiveSplits) -> None:
    trainer = LiveTrainer(KEY, model, splits, config.training, Accelerator(cpu=True))
    for step in (1, 2, 3):
        make_update(trainer, step)
    (evaluation,) = trainer.evaluate("test")
    model.eval()
    with torch.inference_mode():
        one_by_one = [
            model(ids.unsqueeze(0), torch.ones(1, len(ids))).argmax().item() for ids in splits.texts["test"].ids
        ]

    assert len(set(one_by_one)) > 1
    assert evaluation.predicted_N.tolist() == one_by_one


def test_the_best_weights_come_back_for_the_test_split(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    trainer = LiveTrainer(KEY, model, splits, config.training, Accelerator(cpu=True))
    make_update(trainer, 1)
    (then,) = trainer.evaluate("test")
    trainer.keep_best([0])
    for step in (2, 3):
        make_update(trainer, step)
    (now,) = trainer.evaluate("test")
    (best,) = trainer.evaluate_best("test")

    assert best.loss == then.loss != now.loss


def test_scoring_the_best_weights_leaves_the_present_ones_as_they_are_tied_ones_too(
    config: RunConfig, model: TextClassifier, splits: LiveSplits
) -> None:
    model.backbone.body.again = model.backbone.body.embed_tokens  # the same weights under a second name
    trainer = LiveTrainer(KEY, model, splits, config.training, Accelerator(cpu=True))
    make_update(trainer, 1)
    trainer.keep_best([0])
    (best,) = trainer.evaluate("test")
    make_update(trainer, 2)
    (last,), before = trainer.evaluate("test"), parameters_of(model)

    for _ in range(2):
        assert trainer.evaluate_best("test")[0].loss == best.loss
        assert trainer.evaluate("test")[0].loss == last.loss != best.loss
    assert all(torch.equal(value, before[name]) for name, value in parameters_of(model).items())
