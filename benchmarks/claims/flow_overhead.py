"""What the flow itself takes."""

from benchmarks.claim import NO_WORK, Case, Claim, Reading, at_most
from benchmarks.measurement import side

CLAIM = Claim(
    name="flow_overhead",
    sentence="The flow with seven arms that do nothing, from its first line to its end, chart included",
    quotient="ours",
    target=at_most(3, " s"),
    cases=(
        Case(
            title="seven idle arms",
            work=NO_WORK,
            ours=Reading(side("benchmarks.sides.idle_flow:run_idle_arms", has_own_imports=True)),
            pairs=3,
        ),
    ),
    needs_device=False,
)
