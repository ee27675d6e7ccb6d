"""The record of all measurements, docs/benchmarks.json: kept in the repository, because a whole run takes hours."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import Field

from benchmarks.claim import Case, Claim, largest_difference
from benchmarks.machine import Machine
from benchmarks.measurement import CurvePoint, Device, Measurement
from worker.contract.local_files import write_file_atomically
from worker.contract.records import Record

RECORD_FILE = "benchmarks.json"


class Pair(Record):
    """One measurement of both sides."""

    ours: float = Field(description="The product's value, in seconds, bytes or FLOP/s.")
    theirs: float | None = Field(default=None, description="What it is compared with; None where there is nothing.")
    value: float = Field(description="What the pair comes to.")
    curve_difference: CurvePoint | None = Field(
        default=None, description="Largest differences of both curves; None where there are not two."
    )


class CaseResult(Record):
    """All pairs of one case on one device."""

    claim: str = Field(description="Name of the claim.")
    case: str = Field(description="Title of the case.")
    device: Device = Field(description="Kind of the device.")
    machine: Machine = Field(description="What it was measured on.")
    measured_on: date = Field(description="UTC.")
    median: float = Field(description="Of what the pairs come to.")
    minimum: float = Field(description="Smallest pair.")
    maximum: float = Field(description="Largest pair.")
    pairs: tuple[Pair, ...] = Field(min_length=1, description="In the order in which they were measured.")
    notes: dict[str, float | str] = Field(description="What the sides said of themselves in the last pair.")

    @property
    def key(self) -> tuple[str, str, Device]:
        """What a later measurement takes the place of."""
        return self.claim, self.case, self.device

    def is_reached(self, claim: Claim, case: Case) -> bool:
        """Whether the target is met, and both curves are the same where they should be."""
        is_met = claim.target is None or not case.is_judged or claim.target.is_met(self.median)
        return is_met and self.has_same_curves(case)

    def has_same_curves(self, case: Case) -> bool:
        """Whether no pair has curves further apart than the case allows."""
        differences = [pair.curve_difference for pair in self.pairs if pair.curve_difference]
        return case.tolerance is None or all(case.tolerance.holds(difference) for difference in differences)


class BenchmarkRecord(Record):
    """What docs/benchmarks.json holds."""

    schema_version: Literal[1] = 1
    results: tuple[CaseResult, ...] = Field(default=(), description="In the order of claim, case and device.")

    def find(self, claim: str, case: str, device: Device) -> CaseResult | None:
        """Return the result of a case on a kind of device; None if it was never measured."""
        return next((result for result in self.results if result.key == (claim, case, device)), None)

    def put(self, result: CaseResult) -> "BenchmarkRecord":
        """Return the record with one result in the place of its older one."""
        others = [other for other in self.results if other.key != result.key]
        return BenchmarkRecord(results=tuple(sorted([*others, result], key=lambda each: each.key)))


def read_record(path: Path) -> BenchmarkRecord:
    """Read the record; one that is not there holds nothing."""
    return BenchmarkRecord.model_validate_json(path.read_bytes()) if path.exists() else BenchmarkRecord()


def write_record(path: Path, record: BenchmarkRecord) -> None:
    """Write the record so that a change shows as the lines that changed."""
    write_file_atomically(path, (record.model_dump_json(indent=1) + "\n").encode())


def build_result(
    claim: Claim, case: Case, pairs: Sequence[Sequence[Measurement]], device: Device, machine: Machine
) -> CaseResult:
    """Return what the measurements of a case come to.

    Args:
        claim: What is claimed.
        case: What was measured.
        pairs: One measurement per reading of the case.
        device: Kind of the device.
        machine: What it was measured on.
    """
    compared = [_compare(claim, case, pair) for pair in pairs]
    values = [pair.value for pair in compared]
    return CaseResult(
        claim=claim.name,
        case=case.title,
        device=device,
        machine=machine,
        measured_on=datetime.now(UTC).date(),
        median=median(values),
        minimum=min(values),
        maximum=max(values),
        pairs=tuple(compared),
        notes={name: value for measurement in pairs[-1] for name, value in measurement.notes.items()},
    )


def _compare(claim: Claim, case: Case, pair: Sequence[Measurement]) -> Pair:
    numbers = [each.values[reading.value] for each, reading in zip(pair, case.readings, strict=True)]
    ours, theirs = numbers[0], numbers[1] if case.theirs else None
    difference = largest_difference(pair[0].curve, pair[1].curve) if case.tolerance else None
    return Pair(ours=ours, theirs=theirs, value=claim.compare(ours, theirs), curve_difference=difference)
