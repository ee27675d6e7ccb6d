"""The product's side: ``ArmTraining`` as a worker runs it, in this process."""

from pathlib import Path

from benchmarks.measurement import Bench, Measurement
from benchmarks.memory import PeakMemory
from benchmarks.sides.body_shape import body_without_memory, frozen_bytes
from benchmarks.sides.clock import Clock, train_timed
from benchmarks.work_files import cold_cache, run_config
from benchmarks.works import Work
from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.store import ResultsStore
from worker.monitor import Monitor
from worker.recorder import RunRecorder
from worker.train import ArmTraining

_RATE_RATIO = 1.25
"""Between one learning-rate candidate and the next."""


def train_frozen(bench: Bench, work: Work, num_seeds: int = 1, num_candidates: int = 1) -> Measurement:
    """Train a frozen arm, and then once more on the features that are in the cache now.

    Returns:
        ``seconds``, ``again_seconds``, ``peak_bytes`` of the first training, and the ``bound_bytes`` it is held to.
    """
    with cold_cache(bench) as cache:
        config = run_config(bench, work, Mode.FROZEN, cache)
        head_lr = tuple(config.training.head_lr[0] * _RATE_RATIO**number for number in range(num_candidates))
        training = config.training.model_copy(update={"head_lr": head_lr})
        config = config.model_copy(update={"seeds": tuple(range(num_seeds)), "training": training})
        # Before the peak is reset: this imports the model's classes, and memory counts from after the imports.
        bound_bytes = frozen_bytes(body_without_memory(cache, config.backbone), config)
        memory = PeakMemory(bench.device)
        first = _train(config, cache / "first")
        peak_bytes = memory.read_bytes()
        again = _train(config, cache / "again")
        assert again.curve == first.curve, "features from the cache gave another curve"
    return Measurement(
        values={
            "seconds": first.seconds,
            "again_seconds": again.seconds,
            "peak_bytes": peak_bytes,
            "bound_bytes": bound_bytes,
        },
        curve=first.curve,
    )


def train_live(bench: Bench, work: Work) -> Measurement:
    """Train a live arm.

    Returns:
        ``seconds``, ``step_seconds`` of all steps without evaluations, and ``peak_bytes``.
    """
    with cold_cache(bench) as cache:
        config = run_config(bench, work, Mode.LIVE, cache)
        body_without_memory(cache, config.backbone)  # as in train_frozen
        memory = PeakMemory(bench.device)
        clock = _train(config, cache / "first")
        peak_bytes = memory.read_bytes()
    return Measurement(
        values={"seconds": clock.seconds, "step_seconds": clock.step_seconds, "peak_bytes": peak_bytes},
        curve=clock.curve,
    )


def _train(config: RunConfig, results: Path) -> Clock:
    """Train an arm as the worker does, into a results store of its own."""
    config = config.model_copy(update={"execution": config.execution.model_copy(update={"results": str(results)})})
    monitor, store = Monitor(config), ResultsStore(config.execution.results)
    recorders = {seed: RunRecorder(store, config, seed) for seed in config.seeds}
    return train_timed(ArmTraining(config, monitor, recorders, store))
