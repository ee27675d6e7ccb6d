"""Frozen arms: heads on fixed features, each with the data and the order of its seed.

Shapes: ``N`` examples, ``D`` features.
"""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from training_steps import make_update
from worker.contract.plan import TrainingSettings
from worker.frozen import FrozenTrainer
from worker.model import new_head
from worker.schedule import batch_rows
from worker.splits import SPLITS, Split
from worker.traces import RunKey

NUM_CLASSES, N, D = 3, 30, 8
SETTINGS = TrainingSettings(steps=6, batch_size=8, warmup_steps=0)


@pytest.fixture
def features() -> Mapping[Split, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {split: torch.randn(N, D, generator=generator) for split in SPLITS}


@pytest.fixture
def targets() -> Mapping[Split, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {split: torch.randint(NUM_CLASSES, (N,), generator=generator) for split in SPLITS}


def test_before_the_first_update_every_run_is_the_untrained_head_of_its_seed(
    features: Mapping[Split, Tensor], targets: Mapping[Split, Tensor]
) -> None:
    keys = [RunKey(seed, lr, None) for seed in (0, 1) for lr in (0.1, 1.0)]
    evaluations = FrozenTrainer(keys, features, targets, NUM_CLASSES, SETTINGS).evaluate("validation")
    expected = [new_head(D, NUM_CLASSES, key.seed)(features["validation"]).argmax(dim=1) for key in keys]

    assert all(torch.equal(ev.predicted_N, rows) for ev, rows in zip(evaluations, expected, strict=True))
    assert evaluations[0].loss == evaluations[1].loss != evaluations[2].loss


def test_the_rows_of_an_update_are_those_of_its_seed(
    features: Mapping[Split, Tensor], targets: Mapping[Split, Tensor]
) -> None:
    trainer = FrozenTrainer([RunKey(seed, 0.1, None) for seed in (3, 4)], features, targets, NUM_CLASSES, SETTINGS)
    scores = make_update(trainer, 1)
    for seed, score in zip((3, 4), scores, strict=True):
        rows_B = batch_rows(N, SETTINGS.batch_size, SETTINGS.steps, seed)[0]
        logits_BC = new_head(D, NUM_CLASSES, seed)(features["train"][rows_B])
        expected = nn.functional.cross_entropy(logits_BC, targets["train"][rows_B]).item()

        assert score.loss == pytest.approx(expected, rel=1e-6)
        assert score.accuracy == (logits_BC.argmax(dim=1) == targets["train"][rows_B]).sum().item() / 8


def test_only_the_runs_that_are_named_are_remembered_as_best(
    features: Mapping[Split, Tensor], targets: Mapping[Split, Tensor]
) -> None:
    trainer = FrozenTrainer([RunKey(seed, 0.5, None) for seed in (0, 1)], features, targets, NUM_CLASSES, SETTINGS)
    untrained = trainer.evaluate("test")
    trainer.keep_best([0, 1])
    make_update(trainer, 1)
    trained = trainer.evaluate("test")
    trainer.keep_best([1])
    make_update(trainer, 2)
    best = trainer.evaluate_best("test")

    assert (best[0].loss, best[1].loss) == (untrained[0].loss, trained[1].loss)
    assert trainer.evaluate("test")[1].loss != trained[1].loss
