"""What an arm needs by estimate, against the tensors of a real one: sizes, peaks and operations.

Nothing is measured of the process here: the benchmark planner_memory does that.

Shapes: ``B`` batch, ``T`` tokens, ``N`` texts.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import cast

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

import tiny_architectures
import tiny_repositories
from training_steps import make_update
from worker.contract.arms import Mode
from worker.contract.config import arm_training
from worker.contract.estimate import ArmEstimate, BatchShape, DeviceKind
from worker.contract.plan import TrainingSettings
from worker.estimate_arm import Work, estimate_arm
from worker.estimate_batches import TextLengths, plan_batches
from worker.estimate_memory import MemoryTracker
from worker.estimate_model import build_body
from worker.live import LiveSplits, LiveTrainer
from worker.model import PooledBackbone, Standardise, TextClassifier, new_head
from worker.pretrained import load_config, load_model, used_part
from worker.splits import SPLITS
from worker.tokens import TokenizedTexts
from worker.traces import RunKey

NUM_CLASSES = 4
TOKENS_PER_BATCH = 256
TRAINING = TrainingSettings(steps=2, batch_size=6, warmup_steps=0, backbone_lr=(1e-3, 1e-2), head_lr=(0.1, 0.2, 0.3))
LENGTHS = TextLengths(
    {
        "train": torch.tensor([24, 5, 17, 9, 24, 3, 11, 24]),
        "validation": torch.tensor([30, 12, 4]),
        "test": torch.tensor([8, 30, 2, 2]),
    },
    "tokens",
)
ARCHITECTURES = (*tiny_repositories.ARCHITECTURES, *tiny_architectures.ARCHITECTURES)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where a tiny model of an architecture lies."""
    parent = tmp_path_factory.mktemp("models")

    def make(name: str) -> Path:
        folder = parent / name
        if not folder.exists():
            is_reference = name in tiny_repositories.ARCHITECTURES
            (tiny_repositories.make_repository if is_reference else tiny_architectures.make_model)(folder, name)
        return folder

    return make


def estimate(folder: Path, mode: Mode, device: DeviceKind = "cpu", num_seeds: int = 1) -> ArmEstimate:
    work = Work(
        mode=mode,
        training=arm_training(TRAINING, mode),
        num_seeds=num_seeds,
        num_texts={split: len(LENGTHS.by_split[split]) for split in SPLITS},
        batches=plan_batches(LENGTHS, TRAINING, tuple(range(num_seeds)), TOKENS_PER_BATCH, device),
        lengths="tokens",
        num_classes=NUM_CLASSES,
        device=device,
    )
    return estimate_arm(work, partial(build_body, load_config(folder, "here"), ()))


def load_backbone(folder: Path, *, is_frozen: bool) -> PooledBackbone:
    return PooledBackbone(used_part(load_model(folder, "here")), is_frozen=is_frozen)


def num_bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of distinct storages."""
    return sum({value.data_ptr(): value.untyped_storage().nbytes() for value in tensors}.values())


def values_of(module: nn.Module) -> list[Tensor]:
    return [value.detach() for value in chain(module.parameters(), module.buffers())]


def make_trainer(folder: Path) -> LiveTrainer:
    """A real live arm with the texts that are estimated, on the CPU."""
    backbone = load_backbone(folder, is_frozen=False)
    num_features = backbone(torch.ones(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.int64)).shape[1]
    texts = {
        split: TokenizedTexts(tuple(torch.full((length,), 7) for length in lengths_N.tolist()), 0)
        for split, lengths_N in LENGTHS.by_split.items()
    }
    targets = {split: torch.zeros(len(texts[split]), dtype=torch.int64) for split in SPLITS}
    model = TextClassifier(
        backbone, Standardise(torch.randn(8, num_features)), new_head(num_features, NUM_CLASSES, seed=0)
    )
    splits = LiveSplits(texts, targets, TOKENS_PER_BATCH)
    return LiveTrainer(RunKey(seed=0, head_lr=0.1, backbone_lr=1e-3), model, splits, TRAINING, Accelerator(cpu=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_and_weights_are_those_of_the_model(folder_of: Callable[[str], Path], name: str) -> None:
    backbone = load_backbone(folder_of(name), is_frozen=True)
    frozen = estimate(folder_of(name), Mode.FROZEN)

    assert frozen.num_parameters == sum(value.numel() for value in backbone.parameters())
    assert frozen.memory.weights == num_bytes(values_of(backbone))
    assert (frozen.memory.gradients, frozen.memory.optimizer, frozen.memory.best_weights) == (0, 0, 0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_and_moments_are_those_of_a_real_update(folder_of: Callable[[str], Path], name: str) -> None:
    trainer = make_trainer(folder_of(name))
    make_update(trainer, 1)
    model, states = trainer._model, trainer._optimizer.state.values()  # noqa: SLF001 - what is counted lies there
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    moments = [value for state in states for value in state.values()]

    live = estimate(folder_of(name), Mode.LIVE)

    assert live.num_trained_parameters == sum(value.numel() for value in model.parameters())
    assert live.memory.weights == live.memory.best_weights == num_bytes(values_of(model))
    assert live.memory.gradients == num_bytes(gradients)
    assert live.memory.optimizer == num_bytes(moments)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_peak_of_a_live_arm_is_that_of_its_real_updates(folder_of: Callable[[str], Path], name: str) -> None:
    """The best weights, the inputs and the features are no part of an update."""
    trainer = make_trainer(folder_of(name))
    with MemoryTracker() as tracker:
        weights = values_of(trainer._model)  # noqa: SLF001 - they are seen before an update returns them
    with tracker, tracker.measuring() as growth:
        for step in (1, 2):
            make_update(trainer, step)
        trainer.evaluate("validation")

    memory = estimate(folder_of(name), Mode.LIVE).memory

    parts = memory.gradients + memory.optimizer + memory.activations
    assert tracker.live_bytes > num_bytes(weights)
    assert growth.peak_bytes == pytest.approx(parts, rel=0.05)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_largest_batch_of_a_frozen_arm_takes_what_a_real_one_takes(
    folder_of: Callable[[str], Path], name: str
) -> None:
    backbone = load_backbone(folder_of(name), is_frozen=True)
    frozen = estimate(folder_of(name), Mode.FROZEN)
    shape = (frozen.largest_batch.num_texts, frozen.largest_batch.num_tokens)
    ids_BT = torch.full(shape, 7)
    mask_BT = torch.ones(shape, dtype=torch.int64)
    mask_BT[-1, -1] = 0  # a mask of nothing but ones may be left out
    with torch.inference_mode(), MemoryTracker() as tracker, tracker.measuring() as growth:
        backbone(ids_BT, mask_BT)

    assert frozen.largest_batch == BatchShape(num_texts=8, num_tokens=24)
    assert growth.peak_bytes == pytest.approx(frozen.memory.activations, rel=0.1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_operations_are_those_of_every_real_pass(folder_of: Callable[[str], Path], name: str) -> None:
    """Attention is written out here, in products that torch counts by itself."""
    backbone = load_backbone(folder_of(name), is_frozen=False)
    cast("PreTrainedModel", backbone.body).set_attn_implementation("eager")
    batches = plan_batches(LENGTHS, TRAINING, (0,), TOKENS_PER_BATCH, "cpu")

    def count(shapes: Sequence[BatchShape], *, is_update: bool) -> int:
        backbone.train(mode=is_update)
        with FlopCounterMode(display=False) as counter:
            for shape in shapes:
                ids_BT = torch.full((shape.num_texts, shape.num_tokens), 7)
                with torch.set_grad_enabled(is_update):
                    pooled_BD = backbone(ids_BT, torch.ones_like(ids_BT))
                if is_update:
                    pooled_BD.sum().backward()
        return int(counter.get_total_flops())

    flops = estimate(folder_of(name), Mode.LIVE).flops
    scored = 3 * count(batches.forward["validation"], is_update=False)
    scored += 2 * count(batches.forward["test"], is_update=False)

    assert flops.features == count(batches.forward["train"], is_update=False)
    assert flops.evaluation == 6 * scored  # two rates of the backbone times three of the head
    assert flops.training == pytest.approx(6 * count(batches.updates, is_update=True), rel=0.2)


def test_a_frozen_arm_passes_each_text_once_whatever_seeds_and_candidates(folder_of: Callable[[str], Path]) -> None:
    one, three = (estimate(folder_of("llama"), Mode.FROZEN, num_seeds=count).flops for count in (1, 3))

    assert one.features == three.features > 0
    assert (three.training, three.evaluation) == (3 * one.training, 3 * one.evaluation)
    # Three rates; 2 steps of 6 texts forward and backward, 3 scorings of 3 texts, 2 of 4; 32 features to 4 classes.
    assert one.training == 3 * (2 * 6) * 2 * (2 * 32 * NUM_CLASSES)
    assert one.evaluation == 3 * (3 * 3 + 2 * 4) * (2 * 32 * NUM_CLASSES)


def test_heads_train_when_the_backbone_is_gone(folder_of: Callable[[str], Path]) -> None:
    memory = estimate(folder_of("llama"), Mode.FROZEN, "cuda").memory

    assert memory.features == 4 * 32 * (8 + 3 + 4)
    assert memory.peak == memory.weights + memory.activations


def test_a_gpu_leaves_the_best_weights_and_the_features_to_its_host(folder_of: Callable[[str], Path]) -> None:
    on_cpu, on_gpu = (estimate(folder_of("llama"), Mode.LIVE, device).memory for device in ("cpu", "cuda"))

    assert (on_gpu.best_weights, on_gpu.features) == (0, 0)
    assert on_cpu.peak - on_gpu.peak == on_cpu.best_weights + on_cpu.features
    assert on_cpu.features == 4 * 32 * 8


def test_dropout_takes_less_on_a_gpu_where_attention_does_its_own(folder_of: Callable[[str], Path]) -> None:
    with_dropout = [estimate(folder_of("bert"), Mode.LIVE, device).memory.activations for device in ("cpu", "cuda")]
    without = [estimate(folder_of("llama"), Mode.LIVE, device).memory.activations for device in ("cpu", "cuda")]

    assert with_dropout[1] < 0.8 * with_dropout[0]
    assert without[1] == without[0]
