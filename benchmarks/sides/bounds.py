"""What the machine allows: the time of the products that a frozen arm cannot do without, and the share that is used."""

import torch

from benchmarks.gemm import forward_flops, measure_rates, seconds_of
from benchmarks.measurement import Bench, Measurement
from benchmarks.sides.body_shape import body_without_memory
from benchmarks.work_files import run_config
from benchmarks.works import Work
from worker.arm_data import load_arm_tokens
from worker.body import load_body, num_embeddings
from worker.contract.arms import Mode
from worker.model import PooledBackbone
from worker.splits import SPLITS

_ROWS, _TOKENS = 64, 64
"""Of the batch whose forward pass is timed: 4,096 tokens, as the product's batches have, of texts of common length."""

_REPEATS = 3


def bound_frozen(bench: Bench, work: Work) -> Measurement:
    """Return how long the machine needs at least to pass every distinct text once: real tokens at its GEMM rate.

    Returns:
        ``seconds``.
    """
    config = run_config(bench, work, Mode.FROZEN, bench.cache)
    body = body_without_memory(bench.cache, config.backbone)
    lengths = [len(ids) for split in SPLITS for ids in load_arm_tokens(config, split).ids]
    flops, rates = forward_flops(body, lengths), measure_rates(bench.device)
    notes: dict[str, float | str] = {"tokens": sum(lengths), "flops": flops, **_in_gflops(rates)}
    return Measurement(values={"seconds": flops / max(rates.values())}, notes=notes)


def forward_rate(bench: Bench, work: Work) -> Measurement:
    """Measure the rate of the frozen backbone's forward pass and that of matrix products, one after the other.

    Returns:
        ``forward_rate`` and ``gemm_rate`` in FLOP/s, each the best of several.
    """
    config = run_config(bench, work, Mode.FROZEN, bench.cache)
    body = load_body(bench.cache, config.backbone, config.training.max_tokens)
    backbone = PooledBackbone(body, is_frozen=True).to(bench.device)
    vocabulary_size = num_embeddings(bench.cache, config.backbone)
    assert vocabulary_size is not None
    ids_BT = torch.randint(vocabulary_size, (_ROWS, _TOKENS), device=bench.device)
    mask_BT = torch.ones_like(ids_BT)
    rates: dict[str, float] = {}
    forward_seconds: list[float] = []
    with torch.inference_mode():
        backbone(ids_BT[:1], mask_BT[:1])
        for _ in range(_REPEATS):
            for shape, rate in measure_rates(bench.device, repeats=1).items():
                rates[shape] = max(rate, rates.get(shape, 0.0))
            forward_seconds.append(seconds_of(lambda: backbone(ids_BT, mask_BT), bench.device))
    flops = forward_flops(body, [_TOKENS] * _ROWS)
    return Measurement(
        values={"forward_rate": flops / min(forward_seconds), "gemm_rate": max(rates.values())},
        notes=_in_gflops(rates),
    )


def _in_gflops(rates: dict[str, float]) -> dict[str, float | str]:
    return {f"GFLOP/s of {shape}": round(rate / 1e9, 1) for shape, rate in rates.items()}
