"""Memory of a model that has none: what would be alive, and how much of it at worst.

A model of fake tensors has shapes and no numbers. Passes through it allocate nothing, take a fraction of a second, and
ask for exactly the tensors that real ones ask for; here their sizes are added up.

Shapes: ``S`` steps, ``R`` heads, ``B`` batch, ``T`` tokens, ``C`` classes.
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from worker.contract.estimate import BatchShape
from worker.contract.plan import TrainingSettings
from worker.heads import HeadStack
from worker.model import PooledBackbone, TextClassifier
from worker.schedule import parameter_groups


class MemoryTracker(TorchDispatchMode):
    """Counts the bytes of every storage that an operation returns, until it is gone."""

    def __init__(self) -> None:
        """Nothing is alive yet."""
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.live_bytes = 0
        self.peak_bytes = 0
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - the signature of TorchDispatchMode
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Run one operation, and count what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    @contextmanager
    def measuring(self) -> Iterator["Growth"]:
        """Measure a block: what it leaves alive, and how far memory rose above what was alive before."""
        before, self.peak_bytes = self.live_bytes, self.live_bytes
        growth = Growth()
        yield growth
        growth.peak_bytes, growth.left_bytes = self.peak_bytes - before, self.live_bytes - before

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return

        def forget(_reference: object) -> None:
            self.live_bytes -= size
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, forget)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


@dataclass(slots=True)
class Growth:
    """What a block has added to memory, in bytes; filled in at its end."""

    peak_bytes: int = 0
    left_bytes: int = 0


class UpdateMemory(NamedTuple):
    """What training adds to a live arm's weights, in bytes."""

    gradients: int
    optimizer: int
    activations: int
    """What an update needs at worst beyond weights, gradients and moments."""


def fake_batch(shape: BatchShape) -> tuple[Tensor, Tensor]:
    """Return ``ids_BT`` and ``mask_BT`` of a batch."""
    size = (shape.num_texts, shape.num_tokens)
    return torch.zeros(size, dtype=torch.int64), torch.ones(size, dtype=torch.int64)


def measure_forward(backbone: PooledBackbone, shape: BatchShape, tracker: MemoryTracker) -> int:
    """Return what a batch adds to memory at worst when it only passes forward."""
    with torch.inference_mode(), tracker.measuring() as growth:
        backbone(*fake_batch(shape))
    return growth.peak_bytes


def measure_update(
    model: TextClassifier, shape: BatchShape, settings: TrainingSettings, tracker: MemoryTracker, *, in_parts: bool
) -> UpdateMemory:
    """Make an update as ``LiveTrainer`` makes its second one, when the first one's gradients and moments are there.

    The gradients go before it. Where the batch comes in parts, those of a part are there when the next one passes.

    Args:
        model: Of fake tensors, untrained.
        shape: Of the largest batch, or part of one.
        settings: The shared conditions.
        tracker: At work.
        in_parts: Whether a batch comes in parts.
    """
    groups = [
        group for part in (model.backbone, model.head) for group in parameter_groups(part, 1.0, settings.weight_decay)
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    with tracker.measuring() as gradients:
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
    with tracker.measuring() as moments:
        optimizer.step()
    model.train()
    with tracker.measuring() as passes:
        optimizer.zero_grad()
        for _ in range(2 if in_parts else 1):
            logits_BC = model(*fake_batch(shape))
            nn.functional.cross_entropy(logits_BC, torch.zeros(shape.num_texts, dtype=torch.int64)).backward()
            del logits_BC
        nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
    temporary = moments.peak_bytes - moments.left_bytes
    return UpdateMemory(gradients.left_bytes, moments.left_bytes, max(passes.peak_bytes, temporary))


def measure_heads(
    size: tuple[int, int], num_runs: int, settings: TrainingSettings, num_scored: int, tracker: MemoryTracker
) -> int:
    """Return what training the heads of a frozen arm side by side takes at worst, beyond the features.

    Args:
        size: Features and classes of a head.
        num_runs: Heads.
        settings: The shared conditions.
        num_scored: Texts of the largest split that is scored.
        tracker: At work.
    """
    with tracker.measuring() as growth:
        rows_SRB = torch.zeros(settings.steps, num_runs, settings.batch_size, dtype=torch.int64)
        heads = [nn.Linear(*size) for _ in range(num_runs)]
        stack = HeadStack(heads, [1.0] * num_runs, settings.weight_decay, settings.max_grad_norm)
        logits_RBC = stack.logits(torch.zeros(num_runs, settings.batch_size, size[0]))
        losses_RB = nn.functional.cross_entropy(logits_RBC.flatten(0, 1), rows_SRB[0].flatten(), reduction="none")
        stack.update(losses_RB.view(num_runs, -1).mean(dim=1), 1.0)
        with torch.inference_mode():
            stack.logits(torch.zeros(num_scored, size[0]))
    return growth.peak_bytes
