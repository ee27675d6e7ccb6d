"""A second frozen run on features that are in the cache."""

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.known_sides import frozen_arm
from benchmarks.works import DECODER, SHORT_DECODER, Work


def _case(work: Work, pairs: int) -> Case:
    arm = frozen_arm(work)
    return Case(title=work.title, work=work.name, ours=Reading(arm, "again_seconds"), theirs=Reading(arm), pairs=pairs)


CLAIM = Claim(
    name="frozen_cached",
    sentence="A second frozen run of the decoder, on cached features, against the first",
    quotient="ours/theirs",
    target=at_most(0.1),
    cases=(_case(SHORT_DECODER, 1), _case(DECODER, 3)),
)
