"""The claims, one module each, in the order of the page."""

from benchmarks.claim import Claim
from benchmarks.claims import (
    flow_overhead,
    forward_rate,
    frozen_cached,
    frozen_candidates,
    frozen_encode_once,
    frozen_loop,
    frozen_lower_bound,
    frozen_memory,
    frozen_seeds,
    frozen_trainer_decoder,
    frozen_trainer_demo,
    job_overhead,
    live_step,
    live_trainer,
    planner_memory,
    worker_startup,
)

CLAIMS: tuple[Claim, ...] = (
    frozen_trainer_demo.CLAIM,
    frozen_trainer_decoder.CLAIM,
    frozen_lower_bound.CLAIM,
    frozen_seeds.CLAIM,
    frozen_candidates.CLAIM,
    frozen_cached.CLAIM,
    live_trainer.CLAIM,
    live_step.CLAIM,
    forward_rate.CLAIM,
    frozen_memory.CLAIM,
    planner_memory.CLAIM,
    worker_startup.CLAIM,
    flow_overhead.CLAIM,
    job_overhead.CLAIM,
    frozen_loop.CLAIM,
    frozen_encode_once.CLAIM,
)
