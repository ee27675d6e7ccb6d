"""A frozen arm of the decoder against a frozen ``transformers.Trainer``."""

from benchmarks.claim import Case, Claim, Reading, Tolerance, at_least
from benchmarks.known_sides import frozen_arm, trainer
from benchmarks.works import DECODER, SHORT_DECODER, Work
from worker.contract.arms import Mode


def _case(work: Work, pairs: int, num_validation: int, *, is_judged: bool) -> Case:
    return Case(
        title=work.title,
        work=work.name,
        ours=Reading(frozen_arm(work)),
        theirs=Reading(trainer(work, Mode.FROZEN)),
        pairs=pairs,
        is_judged=is_judged,
        tolerance=Tolerance(loss=1e-3, accuracy=2.1 / num_validation),
    )


# Ten steps with 64 texts pass 1,024 texts forward where the product passes 386: the target is for the whole work.
CLAIM = Claim(
    name="frozen_trainer_decoder",
    sentence="A frozen arm of the decoder against a frozen Trainer, from weights loaded to the last point, same curve",
    quotient="theirs/ours",
    target=at_least(20),
    cases=(
        _case(SHORT_DECODER, 1, 64, is_judged=False),
        _case(DECODER, 3, 512, is_judged=True),
    ),
)
