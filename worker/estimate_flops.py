"""Floating point operations of a body, counted at two lengths and known for all others.

A batch of ``B`` texts of ``T`` tokens takes ``B * (per_token * T + per_pair * T**2)``: every token goes through the
same matrices, and attention compares it with every other one of its text.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from worker.contract.estimate import BatchShape
from worker.estimate_memory import fake_batch
from worker.model import PooledBackbone

_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - that is its name
_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class FlopRates:
    """Operations of one kind of pass."""

    per_token: float
    per_pair: float

    def count(self, shapes: Iterable[BatchShape]) -> int:
        """Return the operations of batches."""
        return round(
            sum(
                shape.num_texts * (self.per_token * shape.num_tokens + self.per_pair * shape.num_tokens**2)
                for shape in shapes
            )
        )


def count_forward(backbone: PooledBackbone, longest: int) -> FlopRates:
    """Count a pass without gradients.

    Args:
        backbone: Of fake tensors.
        longest: Tokens of the longest text; counted there and at half of it.
    """
    backbone.eval()

    def forward(num_tokens: int) -> None:
        with torch.inference_mode():
            backbone(*fake_batch(BatchShape(num_texts=1, num_tokens=num_tokens)))

    return _fit(forward, longest)


def count_update(backbone: PooledBackbone, longest: int) -> FlopRates:
    """Count a pass forward and backward, in training mode.

    Args:
        backbone: Of fake tensors, live.
        longest: As in ``count_forward``.
    """
    backbone.train()

    def forward_and_backward(num_tokens: int) -> None:
        backbone(*fake_batch(BatchShape(num_texts=1, num_tokens=num_tokens))).sum().backward()

    return _fit(forward_and_backward, longest)


def _fit(run: Callable[[int], None], longest: int) -> FlopRates:
    shorter = max(1, longest // 2)
    at_longest, at_shorter = (_count(run, num_tokens) / num_tokens for num_tokens in (longest, shorter))
    per_pair = (at_longest - at_shorter) / (longest - shorter) if longest > shorter else 0.0
    return FlopRates(at_longest - per_pair * longest, per_pair)


def _count(run: Callable[[int], None], num_tokens: int) -> int:
    # torch has formulas for the attention kernels of GPUs; the CPU's does the same arithmetic.
    formulas = {_ATTENTION: _attention, _ATTENTION_BACKWARD: _attention_backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        run(num_tokens)
    return int(counter.get_total_flops())


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:  # noqa: ANN401 - shapes, as torch hands them over
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:  # noqa: ANN401
    return int(sdpa_backward_flop_count(gradient, query, key, value))
