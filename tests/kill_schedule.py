"""A seeded schedule of kills: of what form, and when; and what they came to, for docs/reliability.md."""

import random
import resource
import signal
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

REPORT = Path(__file__).parents[1] / "docs" / "reliability.md"

Form = Literal[
    "SIGKILL",
    "SIGTERM",
    "SIGINT",
    "SIGSTOP, then SIGKILL",
    "SIGKILL of a worker",
    "memory limit",
    "store full",
    "cache full",
]

_SPARE_BYTES = 8 * 2**20
"""What a process whose memory is limited may still take."""


@dataclass(frozen=True)
class Kill:
    """One end that is to come."""

    form: Form
    moment: float
    """Share, 0 to 1, of the time that an undisturbed life takes to its end, from its start or from that of training."""
    is_in_training: bool
    """Whether the clock starts with the training: half of the kills would otherwise meet imports."""


@dataclass(frozen=True)
class Ended:
    """What a kill came to."""

    kill: Kill
    exit_code: int
    seconds_to_end: float
    """From the kill to the end of every process."""
    num_repeated: int = 0
    """Units of work that had been shown as done and were done again."""


def draw_kills(seed: int, forms: Sequence[Form]) -> list[Kill]:
    """Return one kill of each form, in a drawn order at drawn moments."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    return [
        # A worker that trains asks for no more memory than it has: the limit meets it before.
        Kill(form, 0.9 * draw.random(), draw.random() < 0.75 and form != "memory limit")
        for form in draw.sample(forms, len(forms))
    ]


@contextmanager
def delivered(form: Form, process: psutil.Process, disks: dict[Form, Path]) -> Iterator[None]:
    """Do to a process what a form says; what was done to its surroundings ends with the block."""
    match form:
        case "SIGKILL" | "SIGTERM" | "SIGINT":
            process.send_signal(signal.Signals[form])
        case "SIGSTOP, then SIGKILL":
            process.suspend()
            process.send_signal(signal.SIGKILL)
        case "memory limit":
            limit = process.memory_info().vms + _SPARE_BYTES
            process.rlimit(resource.RLIMIT_AS, (limit, limit))
        case "store full" | "cache full":
            with _filled(disks[form]):
                yield
            return
    yield


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Take all the space of a disk."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(b"\0" * 2**16) == 2**16:
                pass
    except OSError:
        pass  # full, as it was meant to be
    try:
        yield
    finally:
        filler.unlink()


def write_report(section: str, ended: Iterable[Ended], unit: str) -> None:
    """Replace one section of the report by a table of what the kills came to."""
    by_form: dict[str, list[Ended]] = {}
    for each in ended:
        by_form.setdefault(each.kill.form, []).append(each)
    lines = [
        f"| form | kills | exit codes | seconds to the end, median and most | {unit} done again, in all |",
        "|---|---|---|---|---|",
    ]
    for form, kills in sorted(by_form.items()):
        seconds = [each.seconds_to_end for each in kills]
        codes = ", ".join(map(str, sorted({each.exit_code for each in kills})))
        repeated = sum(each.num_repeated for each in kills)
        lines.append(
            f"| {form} | {len(kills)} | {codes} | {statistics.median(seconds):.1f}, {max(seconds):.1f} | {repeated} |"
        )
    _replace_section(section, "\n".join(lines))


def _replace_section(section: str, content: str) -> None:
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    text = REPORT.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    REPORT.write_text(f"{before}{begin}\n{content}\n{end}{after}", encoding="utf-8")
