"""What is measured: a side of a comparison, where it is measured, and what came of it. Loads nothing heavy."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from benchmarks.works import Work
from worker.contract.records import Record, content_hash

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where sides are measured."""

    cache: Path
    """Kept from one benchmark to the next: data, backbones, and what was measured before an interruption."""
    device: Device


class CurvePoint(Record):
    """The validation split as one step found it."""

    step: int = Field(ge=0, description="Updates so far.")
    accuracy: float = Field(ge=0, le=1, description="Correct examples over all examples.")
    loss: float = Field(description="Mean cross-entropy, nats per example.")


class Measurement(Record):
    """What one run of a side came to."""

    values: dict[str, float] = Field(description="By what was measured: seconds, bytes, FLOP/s.")
    curve: tuple[CurvePoint, ...] = Field(default=(), description="Empty where nothing is trained.")
    notes: dict[str, float | str] = Field(default_factory=dict, description="What else is worth to be known.")


@dataclass(frozen=True)
class Side:
    """One side of a comparison. Two that are equal are one: what several claims need is measured once.

    Args:
        function: ``package.module:name`` of what measures. It is called with a ``Bench`` and the options.
        options: Its other arguments by name: records, numbers and texts.
        has_own_imports: Whether its process imports everything itself. It is for what measures memory; others start
            from a process that has the libraries already, which saves seconds each.
    """

    function: str
    options: tuple[tuple[str, Any], ...] = ()
    has_own_imports: bool = False

    @property
    def key(self) -> str:
        """Identity, the same in every process."""
        options = {
            name: value.model_dump(mode="json") if isinstance(value, Record) else value for name, value in self.options
        }
        return content_hash([self.function, options, self.has_own_imports])

    @property
    def title(self) -> str:
        """Name for people."""
        words = [value.title if isinstance(value, Work) else f"{name}={value}" for name, value in self.options]
        return f"{self.function.rpartition('.')[2].replace(':', '.')}({', '.join(words)})"

    def measure(self, bench: Bench) -> Measurement:
        """Measure in this process."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Measurement] = getattr(import_module(module), name)
        return function(bench, **dict(self.options))


def side(function: str, *, has_own_imports: bool = False, **options: Record | float | str) -> Side:
    """Return a side, with the options of its function as keywords."""
    return Side(function, tuple(sorted(options.items())), has_own_imports)
