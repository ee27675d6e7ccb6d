"""A live arm against a live ``transformers.Trainer``."""

from benchmarks.claim import Case, Claim, Reading, Tolerance, at_least
from benchmarks.known_sides import live_arm, trainer
from benchmarks.works import DECODER, DEMO, SHORT_DECODER, Work
from worker.contract.arms import Mode

SAME_CURVE = Tolerance(loss=0.02, accuracy=0.032)
"""Updates of a whole network carry the differences of float sums from step to step, where a head's do not."""


def _case(work: Work, pairs: int, *, is_judged: bool = True) -> Case:
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(live_arm(work)),
        theirs=Reading(trainer(work, Mode.LIVE)),
        pairs=pairs,
        is_judged=is_judged,
        tolerance=SAME_CURVE,
    )


# With 64 validation texts, evaluation is a small part of the time: the target is for the whole work.
CLAIM = Claim(
    name="live_trainer",
    sentence="A live arm against a live Trainer, from weights loaded to the last point, same curve",
    quotient="theirs/ours",
    target=at_least(1.5),
    cases=(_case(DEMO, 5), _case(SHORT_DECODER, 1, is_judged=False), _case(DECODER, 3)),
)
