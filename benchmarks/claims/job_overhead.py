"""From the creation of a worker's Job to its first line, against the same container importing torch."""

import os

from benchmarks.claim import NO_WORK, Case, Claim, Reading, at_most
from benchmarks.measurement import side


def find_obstacle() -> str | None:
    """Say what is missing where no cluster is named."""
    if os.environ.get("KUBECONFIG"):
        return None
    return "no cluster: `make cluster` starts one and prints its KUBECONFIG; the worker's image must be there"


CLAIM = Claim(
    name="job_overhead",
    sentence="A worker's Job on the test cluster from its creation to the worker's first line, against the same "
    "container importing torch",
    quotient="ours/theirs",
    target=at_most(1.2),
    cases=(
        Case(
            title="one Job",
            work=NO_WORK,
            ours=Reading(side("benchmarks.sides.idle_job:start_worker_job")),
            theirs=Reading(side("benchmarks.sides.idle_job:start_importing_job")),
            pairs=5,
        ),
    ),
    needs_device=False,
    find_obstacle=find_obstacle,
)
