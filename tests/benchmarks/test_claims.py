"""Claims: what a pair comes to, and when a target is missed."""

import pytest

from benchmarks.claim import Case, Claim, Quotient, Reading, Target, Tolerance, at_least, at_most, largest_difference
from benchmarks.claims import CLAIMS
from benchmarks.machine import describe_machine
from benchmarks.measurement import CurvePoint, Measurement, side
from benchmarks.record import CaseResult, build_result
from benchmarks.works import WORKS

CASE = Case(
    title="work",
    work="work",
    ours=Reading(side("acme:ours")),
    theirs=Reading(side("acme:theirs")),
    pairs=3,
    tolerance=Tolerance(loss=0.01, accuracy=0.1),
)


def claim(quotient: Quotient, target: Target | None, case: Case = CASE) -> Claim:
    return Claim(name="claim", sentence="It", quotient=quotient, target=target, cases=(case,))


def measured(seconds: float, *losses: float) -> Measurement:
    curve = tuple(CurvePoint(step=step, accuracy=0.5, loss=loss) for step, loss in enumerate(losses))
    return Measurement(values={"seconds": seconds}, curve=curve)


def result(of: Claim, *pairs: tuple[float, float], their_loss: float = 1.0) -> CaseResult:
    both = [(measured(ours, 1.0, 1.0), measured(theirs, 1.0, their_loss)) for ours, theirs in pairs]
    return build_result(of, of.cases[0], both, "cpu", describe_machine("cpu"))


def test_pairs_are_compared_each_for_itself() -> None:
    found = result(claim("theirs/ours", at_least(4)), (1, 5), (2, 6), (1, 4))

    assert (found.median, found.minimum, found.maximum) == (4, 3, 5)


@pytest.mark.parametrize(
    ("quotient", "target", "is_reached"),
    [
        ("theirs/ours", at_least(4), True),
        ("theirs/ours", at_least(4.1), False),
        ("ours/theirs", at_most(0.25), True),
        ("ours/theirs", at_most(0.24), False),
        ("ours", at_most(1), True),
        ("ours", at_most(0.9), False),
        ("ours", None, True),
    ],
)
def test_the_median_decides(quotient: Quotient, target: Target | None, is_reached: bool) -> None:  # noqa: FBT001
    made = claim(quotient, target)

    assert result(made, (1, 4), (1, 4), (1, 4)).is_reached(made, CASE) is is_reached


def test_curves_that_differ_miss_the_target() -> None:
    made = claim("theirs/ours", at_least(1))

    assert result(made, (1, 4), their_loss=1.009).is_reached(made, CASE)
    assert not result(made, (1, 4), their_loss=1.011).is_reached(made, CASE)


def test_curves_of_other_steps_are_not_compared() -> None:
    short, long = measured(1, 1.0).curve, measured(1, 1.0, 1.0).curve

    with pytest.raises(ValueError, match="1 and 2 points have no common steps"):
        largest_difference(short, long)


def test_the_largest_difference_of_curves_is_named_by_its_step() -> None:
    ours, theirs = measured(1, 1.0, 1.0, 1.0).curve, measured(1, 1.0, 1.5, 0.75).curve

    assert largest_difference(ours, theirs) == CurvePoint(step=1, accuracy=0, loss=0.5)


def test_claims_have_names_of_their_own_and_cases_too() -> None:
    assert len({each.name for each in CLAIMS}) == len(CLAIMS)
    for each in CLAIMS:
        assert len({case.title for case in each.cases}) == len(each.cases)


def test_every_case_is_of_a_work_that_can_be_named() -> None:
    names = {work.name for work in WORKS} | {"product"}

    assert {case.work for each in CLAIMS for case in each.cases} == names


def test_a_claim_with_a_target_is_judged_on_some_work() -> None:
    assert [each.name for each in CLAIMS if each.target and not any(case.is_judged for case in each.cases)] == []
