"""A frozen arm with its 111 points against encode-once with scikit-learn, which has one. For information."""

from benchmarks.claim import Case, Claim, Reading
from benchmarks.known_sides import frozen_arm
from benchmarks.measurement import side
from benchmarks.works import DECODER, DEMO, Work


def _case(work: Work, pairs: int) -> Case:
    encode_once = side("benchmarks.peers.encode_once:fit_encoded", work=work)
    return Case(
        title=work.title, work=work.name, ours=Reading(frozen_arm(work)), theirs=Reading(encode_once), pairs=pairs
    )


CLAIM = Claim(
    name="frozen_encode_once",
    sentence="A frozen arm, with all its points, against encoding once and fitting scikit-learn's LogisticRegression, "
    "with one",
    quotient="ours/theirs",
    target=None,
    cases=(_case(DEMO, 3), _case(DECODER, 3)),
)
