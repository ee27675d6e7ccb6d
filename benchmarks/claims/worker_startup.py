"""From the start of a worker to its first point, against the libraries that it imports."""

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.measurement import side
from benchmarks.works import DEMO
from worker.contract.arms import Mode

_IMPORT = Reading(side("benchmarks.sides.startup:import_libraries"))


def _case(mode: Mode) -> Case:
    return Case(
        title=f"{DEMO.title}, {mode}",
        work=DEMO.name,
        ours=Reading(side("benchmarks.sides.startup:start_worker", work=DEMO, mode=mode.value)),
        theirs=_IMPORT,
        pairs=3,
    )


CLAIM = Claim(
    name="worker_startup",
    sentence="`python -m worker` from its start to step 0, with a tiny backbone and what the cache holds after a first "
    "run, against a process that imports torch and the same classes of transformers",
    quotient="ours/theirs",
    target=at_most(1.5),
    cases=(_case(Mode.FROZEN), _case(Mode.LIVE)),
    needs_device=False,
)
