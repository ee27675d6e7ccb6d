"""Sixteen learning rates with three seeds each against one with one."""

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.known_sides import frozen_arm
from benchmarks.works import DECODER, SHORT_DECODER, Work

NUM_CANDIDATES, NUM_SEEDS = 16, 3


def _case(work: Work, pairs: int) -> Case:
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(frozen_arm(work, num_seeds=NUM_SEEDS, num_candidates=NUM_CANDIDATES)),
        theirs=Reading(frozen_arm(work)),
        pairs=pairs,
    )


CLAIM = Claim(
    name="frozen_candidates",
    sentence="Sixteen learning-rate candidates with three seeds of a frozen arm of the decoder against one with one",
    quotient="ours/theirs",
    target=at_most(1.2),
    cases=(_case(SHORT_DECODER, 1), _case(DECODER, 3)),
)
