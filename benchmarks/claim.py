"""Claims: a sentence, its target, and the pairs of sides that show whether it is reached. Loads nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.measurement import CurvePoint, Side

Quotient = Literal["ours/theirs", "theirs/ours", "ours"]
"""What a pair comes to. ``theirs/ours`` of two times says how many times as fast ours is."""

NO_WORK = "product"
"""Name of the work of cases that train nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for the median of all pairs."""

    bound: float
    kind: Literal["at least", "at most", "within"]
    unit: str = "x"

    def is_met(self, value: float) -> bool:
        """Whether a value keeps to the bound; within one, that it is neither so many times too large nor too small."""
        if self.kind == "within":
            return 1 / self.bound <= value <= self.bound
        return value >= self.bound if self.kind == "at least" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.kind} {self.bound:g}{self.unit}"


def at_least(bound: float, unit: str = "x") -> Target:
    """Return a target that is a lower bound."""
    return Target(bound, "at least", unit)


def at_most(bound: float, unit: str = "x") -> Target:
    """Return a target that is an upper bound."""
    return Target(bound, "at most", unit)


def within(bound: float, unit: str = "x") -> Target:
    """Return a target for a ratio that should be 1."""
    return Target(bound, "within", unit)


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of what a side measures. Both readings of a case may be of one side, which is then measured once."""

    side: Side
    value: str = "seconds"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two curves may differ that are the same but for the order of floating point sums."""

    loss: float
    """Nats, at any step."""
    accuracy: float
    """At any step: an example on the border of two classes may fall either way."""

    def holds(self, difference: CurvePoint) -> bool:
        """Whether a largest difference, as ``largest_difference`` returns it, is inside."""
        return difference.loss <= self.loss and difference.accuracy <= self.accuracy


def largest_difference(ours: tuple[CurvePoint, ...], theirs: tuple[CurvePoint, ...]) -> CurvePoint:
    """Return the largest differences of two curves in loss and in accuracy, at the step where losses differ most.

    Raises:
        ValueError: They have other steps, or none.
    """
    steps = [point.step for point in ours]
    if not steps or steps != [point.step for point in theirs]:
        raise ValueError(
            f"Curves of {len(ours)} and {len(theirs)} points have no common steps; let both score the same."
        )
    pairs = list(zip(ours, theirs, strict=True))
    worst, _ = max(pairs, key=lambda pair: abs(pair[0].loss - pair[1].loss))
    return CurvePoint(
        step=worst.step,
        accuracy=max(abs(one.accuracy - other.accuracy) for one, other in pairs),
        loss=max(abs(one.loss - other.loss) for one, other in pairs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One work on which a claim is measured.

    Args:
        title: Of the work, for people; unique within the claim.
        work: Name of the work, as on the command line.
        ours: The product's side.
        theirs: What it is compared with; None where the value itself counts.
        pairs: How often both are measured.
        is_judged: Whether the target is for this case; otherwise it is measured for information.
        tolerance: Within which both curves must be the same; None where there are not two.
    """

    title: str
    work: str
    ours: Reading
    theirs: Reading | None = None
    pairs: int
    is_judged: bool = True
    tolerance: Tolerance | None = None

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Both sides, ours first."""
        return (self.ours, self.theirs) if self.theirs else (self.ours,)


def nothing_missing() -> str | None:
    """Return None: what a claim needs is always there."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Something that is said about speed or memory, and how it is shown.

    Args:
        name: As on the command line: the name of its module.
        sentence: What is claimed, as a noun phrase that ends without a stop.
        quotient: What each pair comes to.
        target: For the median of the pairs; None where both sides are only shown.
        cases: On which works.
        needs_device: Whether it is also measured on a GPU.
        find_obstacle: Returns why it cannot be measured here; None where it can.
        notes: What was tried and what it gave, for the page; one sentence per line.
    """

    name: str
    sentence: str
    quotient: Quotient
    target: Target | None
    cases: tuple[Case, ...]
    needs_device: bool = True
    find_obstacle: Callable[[], str | None] = nothing_missing
    notes: str = ""

    def compare(self, ours: float, theirs: float | None) -> float:
        """Return what a pair comes to."""
        match self.quotient:
            case "ours":
                return ours
            case "ours/theirs":
                assert theirs is not None, f"{self.name} has no other side"
                return ours / theirs
            case "theirs/ours":
                assert theirs is not None, f"{self.name} has no other side"
                return theirs / ours
