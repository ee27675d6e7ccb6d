"""Estimates made by hand, for tests of what is made of them."""

from worker.contract.arms import Mode
from worker.contract.estimate import ArmEstimate, BatchShape, FlopsEstimate, MemoryEstimate

GIB = 2**30


def make_estimate(mode: Mode = Mode.LIVE, **memory: int) -> ArmEstimate:
    """Return an estimate of an arm on a GPU; ``memory`` replaces parts of it, in GiB."""
    parts = {
        "weights": 4,
        "gradients": 4,
        "optimizer": 8,
        "best_weights": 0,
        "activations": 10,
        "features": 0,
        "peak": 26,
    }
    return ArmEstimate(
        mode=mode,
        device="cuda",
        num_parameters=10**9,
        num_trained_parameters=10**9,
        lengths="tokens",
        largest_batch=BatchShape(num_texts=32, num_tokens=128),
        memory=MemoryEstimate(**{name: size * GIB for name, size in (parts | memory).items()}),
        flops=FlopsEstimate(features=1 * 10**12, training=6 * 10**12, evaluation=3 * 10**12),
    )
