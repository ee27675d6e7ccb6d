"""A frozen arm against what the machine needs at least for it."""

from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.known_sides import frozen_arm
from benchmarks.measurement import side
from benchmarks.works import DECODER, SHORT_DECODER, Work


def _case(work: Work, pairs: int) -> Case:
    bound = side("benchmarks.sides.bounds:bound_frozen", work=work)
    return Case(title=work.title, work=work.name, ours=Reading(frozen_arm(work)), theirs=Reading(bound), pairs=pairs)


CLAIM = Claim(
    name="frozen_lower_bound",
    sentence="A frozen arm of the decoder against its lower bound: real tokens of distinct texts at the machine's fp32 "
    "GEMM rate",
    quotient="ours/theirs",
    target=at_most(1.3),
    cases=(_case(SHORT_DECODER, 1), _case(DECODER, 3)),
)
