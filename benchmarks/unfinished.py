"""What was measured before a benchmark was interrupted: each measurement is put down as it is made."""

import hashlib
from pathlib import Path

from pydantic import Field, ValidationError

from benchmarks.machine import Machine
from benchmarks.measurement import Measurement, Side
from worker.contract.records import Record

_ROOT = Path(__file__).parents[1]


class _Conditions(Record):
    """What measurements must have in common to be compared."""

    machine: Machine = Field(description="Where.")
    code: str = Field(description="SHA-256 over the product's and the benchmarks' modules.")


class _Line(Record):
    side: str = Field(description="Key of the side.")
    number: int = Field(ge=0, description="Of the round.")
    measurement: Measurement = Field(description="What it came to.")


class UnfinishedRounds:
    """Measurements of rounds that are not complete, in a file of one line each.

    They are of one machine and one state of the code: others are forgotten.
    """

    def __init__(self, path: Path, machine: Machine) -> None:
        """Read what an earlier benchmark left."""
        self._path = path
        self._found: dict[tuple[str, int], Measurement] = {}
        conditions = _Conditions(machine=machine, code=_hash_code()).model_dump_json()
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if not lines or lines[0] != conditions:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(conditions + "\n", "utf-8")
            return
        for text in lines[1:]:
            try:
                line = _Line.model_validate_json(text)
            except ValidationError:  # torn by what ended the benchmark
                continue
            self._found[line.side, line.number] = line.measurement

    def find(self, side: Side, number: int) -> Measurement | None:
        """Return what a side came to in a round, if it was measured."""
        return self._found.get((side.key, number))

    def put(self, side: Side, number: int, measurement: Measurement) -> None:
        """Keep a measurement."""
        self._found[side.key, number] = measurement
        line = _Line(side=side.key, number=number, measurement=measurement)
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._ends_torn() + line.model_dump_json() + "\n")

    def forget(self) -> None:
        """Begin anew next time: everything that was asked for is measured."""
        self._path.unlink()

    def _ends_torn(self) -> bool:
        return not self._path.read_bytes().endswith(b"\n")


def _hash_code() -> str:
    digest = hashlib.sha256()
    for path in sorted(
        path for package in ("worker", "flows", "benchmarks") for path in (_ROOT / package).rglob("*.py")
    ):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
