"""Rounds: in each, every side that is needed is measured once; the order turns from one round to the next."""

from collections.abc import Callable, Iterator, Sequence

from benchmarks.claim import Case, Claim
from benchmarks.measurement import Measurement, Side
from benchmarks.unfinished import UnfinishedRounds

Measure = Callable[[Side], Measurement | None]
Task = tuple[Claim, Case]


def sides_of_round(tasks: Sequence[Task], number: int) -> list[Side]:
    """Return the sides of a round in their order, each once.

    Both sides of a case stand beside each other, unless another case has had one before; in every second round the
    whole order is turned, so that whatever warms up or cools down meets both sides alike.
    """
    wanted = [reading.side for _, case in tasks if case.pairs > number for reading in case.readings]
    ordered = list(dict.fromkeys(wanted))
    return ordered[::-1] if number % 2 else ordered


def measure_rounds(
    tasks: Sequence[Task], unfinished: UnfinishedRounds, measure: Measure, report: Callable[[str], None]
) -> Iterator[tuple[Claim, Case, list[list[Measurement]]]]:
    """Measure all rounds, and yield each case as soon as it has all its pairs.

    Args:
        tasks: What is to be measured.
        unfinished: What is there already, and where each new measurement goes.
        measure: Measures a side; None if it failed. A case that needs it is left out.
        report: Told of every side, in words.

    Yields:
        A case and its pairs, each with one measurement per reading.
    """
    num_rounds = max((case.pairs for _, case in tasks), default=0)
    for number in range(num_rounds):
        sides = sides_of_round(tasks, number)
        for place, side in enumerate(sides, start=1):
            where = f"round {number + 1} of {num_rounds}, {place} of {len(sides)}: {side.title}"
            if unfinished.find(side, number) is not None:
                report(f"{where}: measured before")
                continue
            report(where)
            measurement = measure(side)
            if measurement is not None:
                unfinished.put(side, number, measurement)
        for claim, case in tasks:
            pairs = [_pair(case, unfinished, at) for at in range(case.pairs)]
            if case.pairs == number + 1 and all(pairs):
                yield claim, case, pairs


def _pair(case: Case, unfinished: UnfinishedRounds, number: int) -> list[Measurement]:
    """Return one measurement per reading; nothing if one of them failed."""
    found = [unfinished.find(reading.side, number) for reading in case.readings]
    there = [measurement for measurement in found if measurement is not None]
    return there if len(there) == len(found) else []
