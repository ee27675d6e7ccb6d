"""Five seeds of a frozen arm against one."""

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.known_sides import frozen_arm
from benchmarks.works import DECODER, DEMO, Work

NUM_SEEDS = 5


def _case(work: Work, pairs: int) -> Case:
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(frozen_arm(work, num_seeds=NUM_SEEDS)),
        theirs=Reading(frozen_arm(work)),
        pairs=pairs,
    )


CLAIM = Claim(
    name="frozen_seeds",
    sentence="Five seeds of a frozen arm against one, with the same train subset",
    quotient="ours/theirs",
    target=at_most(1.15),
    cases=(_case(DEMO, 5), _case(DECODER, 3)),
)
