"""What the machine can do at most: the rate of its fp32 matrix products, and the products that a forward pass needs."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.measurement import Device

SHAPES = ((4096, 576, 576), (4096, 576, 1536), (4096, 1536, 576), (2048, 2048, 2048))
"""Rows, inner size, columns: those of the decoder at 4,096 tokens, and a large square."""

_REPEATS = 5


def seconds_of(action: Callable[[], object], device: Device) -> float:
    """Return how long something takes, until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure_rates(device: Device, repeats: int = _REPEATS) -> dict[str, float]:
    """Return the best FLOP/s of each shape, by its name; the first product of each only warms up."""
    rates: dict[str, float] = {}
    for rows, inner, columns in SHAPES:
        left, right = torch.randn(rows, inner, device=device), torch.randn(inner, columns, device=device)
        product = torch.empty(rows, columns, device=device)

        def multiply(left: torch.Tensor = left, right: torch.Tensor = right, out: torch.Tensor = product) -> None:
            torch.mm(left, right, out=out)

        seconds = [seconds_of(multiply, device) for _ in range(repeats + 1)][1:]
        rates[f"{rows}x{inner}x{columns}"] = 2 * rows * inner * columns / min(seconds)
    return rates


def forward_flops(body: nn.Module, lengths: Sequence[int]) -> int:
    """Count the FLOPs of passing texts of given lengths through a decoder: linear layers and attention, no padding.

    Norms, rotations and activations are left out, so that a time from this count is a lower bound. Attention is counted
    over the whole square of a text, as torch counts it, which is 2 % of the decoder's FLOPs at 57 tokens.

    Source:
        Multiply and add are two; torch.utils.flop_counter, mm_flop and sdpa_flop_count. A test holds the two equal.
    """
    config: Any = body.config
    weights = sum(module.weight.numel() for module in body.modules() if isinstance(module, nn.Linear))
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_square = 4 * config.num_hidden_layers * config.num_attention_heads * head_size
    return int(sum(2 * weights * length + per_square * length**2 for length in lengths))
