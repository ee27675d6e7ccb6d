"""The sides that several claims need, named once: equal ones are measured once. Loads nothing heavy."""

from benchmarks.measurement import Side, side
from benchmarks.works import DecoderShape, Work
from worker.contract.arms import Mode


def frozen_arm(work: Work, *, num_seeds: int = 1, num_candidates: int = 1) -> Side:
    """Return the product's frozen arm. Of the decoder, memory is measured too, so that it imports for itself."""
    return side(
        "benchmarks.sides.product:train_frozen",
        has_own_imports=isinstance(work.backbone, DecoderShape),
        work=work,
        num_seeds=num_seeds,
        num_candidates=num_candidates,
    )


def live_arm(work: Work) -> Side:
    """Return the product's live arm."""
    has_own_imports = isinstance(work.backbone, DecoderShape)  # as above
    return side("benchmarks.sides.product:train_live", has_own_imports=has_own_imports, work=work)


def estimated_arm(work: Work, mode: Mode) -> Side:
    """Return the planner, about the product's arm."""
    return side("benchmarks.sides.planner:estimate_memory", work=work, mode=mode.value)


def trainer(work: Work, mode: Mode) -> Side:
    """Return ``transformers.Trainer``."""
    return side("benchmarks.peers.trainer:train_with_trainer", work=work, mode=mode.value)


def torch_loop(work: Work, mode: Mode) -> Side:
    """Return a bare PyTorch loop."""
    return side("benchmarks.peers.torch_loop:train_in_loop", work=work, mode=mode.value)
