"""The peak memory that the planner says an arm will need, against what it takes."""

from benchmarks.claim import Case, Claim, Reading, within
from benchmarks.known_sides import estimated_arm, frozen_arm, live_arm
from benchmarks.works import DECODER, SHORT_DECODER, Work
from worker.contract.arms import Mode


def _case(work: Work, mode: Mode, pairs: int) -> Case:
    measured = frozen_arm(work) if mode is Mode.FROZEN else live_arm(work)
    return Case(
        title=f"{work.title}, {mode}",
        work=work.name,
        ours=Reading(estimated_arm(work, mode), "peak_bytes"),
        theirs=Reading(measured, "peak_bytes"),
        pairs=pairs,
    )


CLAIM = Claim(
    name="planner_memory",
    sentence="Peak memory of an arm of the decoder by estimate, against the measured one over memory after imports",
    quotient="ours/theirs",
    target=within(1.15),
    cases=tuple(
        _case(work, mode, pairs)
        for work, pairs in ((SHORT_DECODER, 1), (DECODER, 3))
        for mode in (Mode.FROZEN, Mode.LIVE)
    ),
)
