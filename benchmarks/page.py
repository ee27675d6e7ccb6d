"""docs/benchmarks.md: every claim with its target and what was measured. Pure: claims and record in, text out."""

from collections.abc import Iterator, Sequence

from benchmarks.claim import NO_WORK, Case, Claim
from benchmarks.record import BenchmarkRecord, CaseResult
from benchmarks.works import Work

PAGE_FILE = "benchmarks.md"

_INTRODUCTION = """\
# Benchmarks

<!-- Made by `python -m benchmarks --page` from benchmarks.json and benchmarks/claims. Do not edit. -->

What freeze-bench claims about speed and memory, and what was measured.
Times depend on the machine, so ratios count: both sides do the same work, in alternation, each in a process of its own.
Each figure is the median of all pairs, with the smallest and the largest.

| Command | What it measures |
|---|---|
| `make bench` | all claims on the works `a` and `b-short`; goes on after an interruption where it was |
| `make bench-full` | the whole work `b`; takes hours |
| `make bench-gpu` | the claims about training, on one GPU with the work `b` |
| `make bench ARGS="frozen_seeds --pairs 1"` | one claim once, and records nothing |

A command ends with exit code 1 and names the claim if a target is missed.
Figures, machines and dates are in [benchmarks.json](benchmarks.json).
"""

_CLOCK = """\
The clock of an arm runs from weights and raw texts in memory to the last validation point.
Tokenizing is in it, loading and imports are in neither side's.
Peers have the product's head, learning rates, clipping and order of examples, so that curves are the same.
Their evaluation batches are of the size that a search on the same machine found fastest, and are sorted by length.
"""


def build_page(claims: Sequence[Claim], works: Sequence[Work], record: BenchmarkRecord) -> str:
    """Return the page."""
    parts = [_INTRODUCTION, "## Works\n", *(f"- `{work.name}`: {work.about}" for work in works), "", _CLOCK]
    parts += ["## Claims\n", *_overview(claims, record)]
    for claim in claims:
        parts += ["", *_section(claim, record)]
    return "\n".join(parts) + "\n"


def _overview(claims: Sequence[Claim], record: BenchmarkRecord) -> Iterator[str]:
    yield "| Claim | Target | Work | Measured on a CPU | Reached | On a GPU |"
    yield "|---|---|---|---|---|---|"
    for claim in claims:
        for case in claim.cases:
            result = record.find(claim.name, case.title, "cpu")
            measured = _measured(claim, result) if result else "not yet"
            target = str(claim.target) if claim.target and case.is_judged else "for information"
            yield (
                f"| [{claim.name}](#{claim.name}) | {target} | {case.title} | {measured} | "
                f"{_verdict(claim, case, result)} | {_on_gpu(claim, case, record)} |"
            )


def _section(claim: Claim, record: BenchmarkRecord) -> Iterator[str]:
    yield f"### {claim.name}\n"
    yield f"{claim.sentence}.\n"
    for case in claim.cases:
        for device in ("cpu", "cuda"):
            result = record.find(claim.name, case.title, device)
            if result:
                yield f"- {case.title}: {describe_result(claim, case, result)}"
                yield f"  On {result.machine}, {result.measured_on}."
    if not any(result.claim == claim.name for result in record.results):
        yield "- Not measured yet."
    if claim.notes:
        yield f"\n{claim.notes.strip()}"


def describe_result(claim: Claim, case: Case, result: CaseResult) -> str:
    """Return a result as one sentence: the ratio, both sides, and the difference of the curves."""
    text = f"{_measured(claim, result)}"
    last = result.pairs[-1]
    if last.theirs is not None:
        both = [_quantity(value, case.ours.value) for value in (last.ours, last.theirs)]
        text += f"; in the last pair {' against '.join(both)}"
    differences = [pair.curve_difference for pair in result.pairs if pair.curve_difference]
    if differences:
        loss, accuracy = max(each.loss for each in differences), max(each.accuracy for each in differences)
        sameness = "the same curve" if result.has_same_curves(case) else "NOT the same curve"
        text += f"; {sameness}, within {loss:.1g} in loss and {accuracy:.1g} in accuracy"
    return f"{text}."


def _measured(claim: Claim, result: CaseResult) -> str:
    unit = claim.target.unit if claim.target else "x"
    spread = f"{_short(result.minimum)} to {_short(result.maximum)}, {len(result.pairs)} pairs"
    if len(result.pairs) == 1:
        spread = "one pair"
    return f"{_short(result.median)}{unit} ({spread})"


def _verdict(claim: Claim, case: Case, result: CaseResult | None) -> str:
    if result is None:
        return "not yet"
    if not result.has_same_curves(case):
        return "**no**: the curves differ"
    if claim.target is None or not case.is_judged:
        return ""
    return "yes" if result.is_reached(claim, case) else "**no**"


def _on_gpu(claim: Claim, case: Case, record: BenchmarkRecord) -> str:
    if not claim.needs_device or case.work == NO_WORK:
        return "needs none"
    result = record.find(claim.name, case.title, "cuda")
    if result is None:
        return "never run"
    return f"{_measured(claim, result)}, run on {result.machine.device}, {result.measured_on}"


def _short(number: float) -> str:
    """Return three digits of a number."""
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"  # noqa: PLR2004 - three digits


def _quantity(number: float, name: str) -> str:
    """Return a value with the unit that its name says."""
    if name.endswith("bytes"):
        return f"{number / 2**20:,.0f} MiB"
    if name.endswith("rate"):
        return f"{number / 1e9:,.0f} GFLOP/s"
    return f"{_short(number)} s"
