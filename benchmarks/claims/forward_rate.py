"""How much of the machine's rate a forward pass reaches."""

from benchmarks.claim import Case, Claim, Reading, at_least
from benchmarks.measurement import side
from benchmarks.works import DECODER, SHORT_DECODER, Work


def _case(work: Work, pairs: int) -> Case:
    both = side("benchmarks.sides.bounds:forward_rate", work=work)
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(both, "forward_rate"),
        theirs=Reading(both, "gemm_rate"),
        pairs=pairs,
    )


CLAIM = Claim(
    name="forward_rate",
    sentence="The rate of the decoder's forward pass in fp32 against that of the machine's matrix products, in one run",
    quotient="ours/theirs",
    target=at_least(0.85),
    cases=(_case(SHORT_DECODER, 1), _case(DECODER, 3)),
)
