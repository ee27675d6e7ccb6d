"""The needs of one arm: the same passes that it will make, through a model of fake tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn, zeros

from worker.contract.arms import Mode
from worker.contract.estimate import ArmEstimate, BatchShape, DeviceKind, FlopsEstimate, MemoryEstimate
from worker.contract.plan import TrainingSettings
from worker.estimate_batches import Batches, largest_batch
from worker.estimate_flops import count_forward, count_update
from worker.estimate_memory import MemoryTracker, fake_batch, measure_forward, measure_heads, measure_update
from worker.estimate_model import without_memory
from worker.model import PooledBackbone, Standardise, TextClassifier, num_parameters
from worker.splits import SPLITS, Split

_FEATURE_BYTES = 4  # fp32
_INPUT_BYTES = 2 * 8  # a token and its mask, int64


@dataclass(frozen=True, slots=True)
class Work:
    """What an arm does with its backbone."""

    mode: Mode
    training: TrainingSettings
    """As it applies to this arm."""
    num_seeds: int
    num_texts: Mapping[Split, int]
    batches: Batches
    lengths: Literal["tokens", "max_tokens"]
    """What the batches were found by."""
    num_classes: int
    device: DeviceKind

    @property
    def num_candidates(self) -> int:
        """Pairs of learning rates; a frozen arm has heads' only."""
        return len(self.training.head_lr) * max(1, len(self.training.backbone_lr))

    @property
    def num_runs(self) -> int:
        """Seeds times candidates."""
        return self.num_seeds * self.num_candidates

    @property
    def has_parts(self) -> bool:
        """Whether some batch of a live arm comes in parts."""
        return len(self.batches.updates) > self.num_seeds * self.training.steps

    @property
    def num_scorings(self) -> int:
        """How often a run is scored on validation."""
        return len(self.training.eval_steps)


def estimate_arm(work: Work, build: Callable[[], nn.Module]) -> ArmEstimate:
    """Estimate the needs of one arm.

    Args:
        work: What it does.
        build: Makes its body, of whatever tensors are the fashion when it is called.
    """
    with without_memory(on_gpu=work.device == "cuda"):
        estimate = _estimate_frozen if work.mode is Mode.FROZEN else _estimate_live
        with MemoryTracker() as tracker, tracker.measuring() as weights:
            backbone = PooledBackbone(build(), is_frozen=False)  # nothing that is counted differs from a frozen one
        return estimate(work, backbone, tracker, weights.left_bytes)


def _estimate_frozen(work: Work, backbone: PooledBackbone, tracker: MemoryTracker, weights: int) -> ArmEstimate:
    shapes = work.batches.forward_of(*SPLITS)
    largest = largest_batch(shapes)
    num_features, num_texts = _num_features(backbone), work.num_texts
    # On the CPU the features as they came stay beside the standardised ones.
    features = _FEATURE_BYTES * num_features * sum(num_texts.values()) * (1 if work.device == "cuda" else 2)
    with tracker:
        forward = measure_forward(backbone, largest, tracker)
        num_scored = max(num_texts["validation"], num_texts["test"])
        heads = measure_heads((num_features, work.num_classes), work.num_runs, work.training, num_scored, tracker)
    while_extracting = weights + forward + (0 if work.device == "cuda" else features // 2)
    memory = MemoryEstimate(
        weights=weights,
        gradients=0,
        optimizer=0,
        best_weights=0,
        activations=max(forward, heads),
        features=features,
        peak=max(while_extracting, features + heads),
    )
    flops = FlopsEstimate(
        features=count_forward(backbone, _longest(shapes)).count(shapes),
        **_count_heads(work, num_features),
    )
    num_trained = (num_features + 1) * work.num_classes
    return _describe(work, backbone, num_trained, largest, memory, flops)


def _estimate_live(work: Work, backbone: PooledBackbone, tracker: MemoryTracker, weights: int) -> ArmEstimate:
    training, is_on_cpu = work.training, work.device == "cpu"
    updates, texts = work.batches.updates, work.batches.forward_of(*SPLITS)
    largest = largest_batch(updates)
    num_features = _num_features(backbone)
    with tracker:
        forward = measure_forward(backbone, largest_batch(texts), tracker)
        with tracker.measuring() as head:
            standardise = Standardise(zeros(2, num_features))
            model = TextClassifier(backbone, standardise, nn.Linear(num_features, work.num_classes))
        update = measure_update(model, largest, training, tracker, in_parts=work.has_parts)
    weights += head.left_bytes
    # What is scored at every evaluation stays on the device; where that is the CPU, so does what a GPU's host keeps.
    inputs = _INPUT_BYTES * sum(
        shape.num_texts * shape.num_tokens for shape in work.batches.forward_of("validation", "test")
    )
    best_weights = weights if is_on_cpu else 0
    features = _FEATURE_BYTES * num_features * work.num_texts["train"] if is_on_cpu else 0
    activations = max(forward, update.activations) + inputs
    memory = MemoryEstimate(
        weights=weights,
        gradients=update.gradients,
        optimizer=update.optimizer,
        best_weights=best_weights,
        activations=activations,
        features=features,
        peak=weights + update.gradients + update.optimizer + best_weights + features + activations,
    )
    return _describe(work, backbone, num_parameters(model), largest, memory, _count_live(work, backbone))


def _count_heads(work: Work, num_features: int) -> dict[str, int]:
    """Count what the heads of a frozen arm do: their own products, backward only as far as their weights."""
    per_text = 2 * work.num_runs * num_features * work.num_classes
    num_trained = work.training.steps * work.training.batch_size
    num_scored = work.num_scorings * work.num_texts["validation"] + 2 * work.num_texts["test"]
    return {"training": 2 * per_text * num_trained, "evaluation": per_text * num_scored}


def _count_live(work: Work, backbone: PooledBackbone) -> FlopsEstimate:
    batches = work.batches
    forward = count_forward(backbone, _longest(batches.forward_of(*SPLITS)))
    update = count_update(backbone, _longest(batches.updates))
    scored = work.num_scorings * forward.count(batches.forward["validation"]) + 2 * forward.count(
        batches.forward["test"]
    )
    return FlopsEstimate(
        features=forward.count(batches.forward["train"]),
        training=work.num_candidates * update.count(batches.updates),
        evaluation=work.num_runs * scored,
    )


def _describe(
    work: Work,
    backbone: PooledBackbone,
    num_trained: int,
    largest: BatchShape,
    memory: MemoryEstimate,
    flops: FlopsEstimate,
) -> ArmEstimate:
    return ArmEstimate(
        mode=work.mode,
        device=work.device,
        num_parameters=num_parameters(backbone),
        num_trained_parameters=num_trained,
        lengths=work.lengths,
        largest_batch=largest,
        memory=memory,
        flops=flops,
    )


def _num_features(backbone: PooledBackbone) -> int:
    return int(backbone(*fake_batch(BatchShape(num_texts=1, num_tokens=1))).shape[1])


def _longest(shapes: Sequence[BatchShape]) -> int:
    return max(shape.num_tokens for shape in shapes)
