"""The planner's side: what an arm will need, said without its weights."""

from benchmarks.measurement import Bench, Measurement
from benchmarks.work_files import cold_cache, run_config
from benchmarks.works import Work
from worker.contract.arms import Mode
from worker.estimate import estimate_run


def estimate_memory(bench: Bench, work: Work, mode: str) -> Measurement:
    """Estimate the peak memory of an arm.

    Returns:
        ``peak_bytes``; its parts are notes.
    """
    with cold_cache(bench) as cache:
        (arm,) = estimate_run(run_config(bench, work, Mode(mode), cache)).arms
    parts = {name: float(size) for name, size in arm.memory}
    return Measurement(values={"peak_bytes": parts.pop("peak")}, notes=dict(parts))
