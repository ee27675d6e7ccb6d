"""A frozen arm of the demo against a frozen ``transformers.Trainer``."""

from benchmarks.claim import Case, Claim, Reading, Tolerance, at_least
from benchmarks.known_sides import frozen_arm, trainer
from benchmarks.works import DEMO, Work
from worker.contract.arms import Mode

SAME_CURVE = Tolerance(loss=1e-3, accuracy=0.004)
"""Two of 512 texts may fall the other way."""


def _case(work: Work, pairs: int, *, is_judged: bool) -> Case:
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(frozen_arm(work)),
        theirs=Reading(trainer(work, Mode.FROZEN)),
        pairs=pairs,
        is_judged=is_judged,
        tolerance=SAME_CURVE,
    )


CLAIM = Claim(
    name="frozen_trainer_demo",
    sentence="A frozen arm of the demo against a frozen Trainer, from weights loaded to the last point, same curve",
    quotient="theirs/ours",
    target=at_least(15),
    cases=(
        _case(DEMO, 5, is_judged=True),
        _case(DEMO.evaluated_every(10), 3, is_judged=False),
        _case(DEMO.evaluated_every(110), 3, is_judged=False),
    ),
)
