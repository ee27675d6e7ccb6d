"""The clock of an arm: from weights and raw texts in memory to the last validation point.

Loading is taken out by timing the product's own loading functions; tokens, features and training are in it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torch._dynamo  # AdamW would load it at its first step: 1.2 s that are no training, of either side

from benchmarks.measurement import CurvePoint
from worker import body
from worker.live import LiveTrainer
from worker.train import ArmTraining

LOADING = ("load_body", "load_tokenizer", "num_embeddings")
"""Functions of ``worker.body`` that the clock leaves out: a peer has weights and tokenizer before its clock begins."""

STEP = ("try_batch", "update")
"""Methods of ``LiveTrainer`` that make a step."""


@dataclass
class Clock:
    """What one training took."""

    began: float = field(default_factory=time.perf_counter)
    loading_seconds: float = 0.0
    step_seconds: float = 0.0
    """Of all steps together, without evaluations; 0 for a frozen arm."""
    last_point_at: float = 0.0
    curve: tuple[CurvePoint, ...] = ()
    """Of the first run."""

    @property
    def seconds(self) -> float:
        """From weights loaded to the last point."""
        return self.last_point_at - self.began - self.loading_seconds

    def count_loading(self, seconds: float) -> None:
        """Take time out."""
        self.loading_seconds += seconds

    def count_step(self, seconds: float) -> None:
        """Add a part of a step."""
        self.step_seconds += seconds


def train_timed(training: ArmTraining) -> Clock:
    """Train an arm to its end, and return what the clock showed."""
    clock = Clock()
    with ExitStack() as stack:
        for module in [module for name, module in sys.modules.items() if name.startswith("worker.")]:
            for name in LOADING:
                if module is not body and getattr(module, name, None) is getattr(body, name):
                    stack.enter_context(_timed(module, name, clock.count_loading))
        for name in STEP:
            stack.enter_context(_timed(LiveTrainer, name, clock.count_step))
        stack.enter_context(_watched(training, clock))
        clock.began = time.perf_counter()
        training.train()
    assert clock.last_point_at, "the training has shown no last step"
    return clock


@contextmanager
def _timed(owner: Any, name: str, count: Callable[[float], None]) -> Iterator[None]:  # noqa: ANN401 - module or class
    """Tell how long each call of a function took, until the device is done."""
    original = getattr(owner, name)

    def timed(*arguments: object, **named: object) -> object:
        began = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            count(time.perf_counter() - began)

    with patch.object(owner, name, timed):
        yield


@contextmanager
def _watched(training: ArmTraining, clock: Clock) -> Iterator[None]:
    """Put down when the last step was observed, and the curve up to it."""
    of_training, last_step = training.observer.of_training, training.config.training.steps

    def watched_of_training(*earlier: Any) -> Callable[..., None]:  # noqa: ANN401 - passed on
        observe = of_training(*earlier)

        def watch(step: int, traces: Any) -> None:  # noqa: ANN401 - passed on
            observe(step, traces)
            if step == last_step:
                clock.last_point_at = time.perf_counter()
                clock.curve = tuple(
                    CurvePoint(step=point.step, accuracy=point.validation_accuracy, loss=point.validation_loss)
                    for point in traces[0].points
                    if point.validation_accuracy is not None
                )

        return watch

    with patch.object(training.observer, "of_training", watched_of_training):
        yield
