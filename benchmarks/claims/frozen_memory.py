"""The peak memory of a frozen arm against what it cannot do without."""

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.known_sides import frozen_arm
from benchmarks.works import DECODER, SHORT_DECODER, Work


def _case(work: Work, pairs: int) -> Case:
    arm = frozen_arm(work)
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(arm, "peak_bytes"),
        theirs=Reading(arm, "bound_bytes"),
        pairs=pairs,
    )


CLAIM = Claim(
    name="frozen_memory",
    sentence="Peak memory of a frozen arm of the decoder, over memory after imports, against weights, one batch and "
    "features",
    quotient="ours/theirs",
    target=at_most(1.15),
    cases=(_case(SHORT_DECODER, 1), _case(DECODER, 3)),
)
