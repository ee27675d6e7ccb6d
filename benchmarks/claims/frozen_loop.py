"""A frozen arm against a bare PyTorch loop that passes the backbone forward at each step. For information."""

from benchmarks.claim import Case, Claim, Reading
from benchmarks.claims.frozen_trainer_demo import SAME_CURVE
from benchmarks.known_sides import frozen_arm, torch_loop
from benchmarks.works import DEMO
from worker.contract.arms import Mode

CLAIM = Claim(
    name="frozen_loop",
    sentence="A frozen arm of the demo against a bare PyTorch loop that keeps nothing from step to step, same curve",
    quotient="theirs/ours",
    target=None,
    cases=(
        Case(
            title=DEMO.title,
            work=DEMO.name,
            ours=Reading(frozen_arm(DEMO)),
            theirs=Reading(torch_loop(DEMO, Mode.FROZEN)),
            pairs=1,
            tolerance=SAME_CURVE,
        ),
    ),
)
