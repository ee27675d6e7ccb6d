"""The training step of a live arm alone, against that of a bare PyTorch loop on the same batches."""

from benchmarks.claim import Case, Claim, Reading, at_least
from benchmarks.claims.live_trainer import SAME_CURVE
from benchmarks.known_sides import live_arm, torch_loop
from benchmarks.works import DECODER, DEMO, Work
from worker.contract.arms import Mode


def _case(work: Work, pairs: int) -> Case:
    rarely = work.evaluated_every(work.training.steps)
    return Case(
        title=rarely.title,
        work=work.name,
        ours=Reading(live_arm(rarely), "step_seconds"),
        theirs=Reading(torch_loop(rarely, Mode.LIVE), "step_seconds"),
        pairs=pairs,
        tolerance=SAME_CURVE,
    )


CLAIM = Claim(
    name="live_step",
    sentence="All training steps of a live arm, without evaluation, against a bare PyTorch loop on the same batches",
    quotient="theirs/ours",
    target=at_least(1.0),
    cases=(_case(DEMO, 5), _case(DECODER, 3)),
)
