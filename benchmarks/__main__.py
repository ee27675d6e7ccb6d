"""Measures what is claimed about speed and memory, records it, and says which target is missed.

PYTHONPATH=tests python -m benchmarks                         # what `make bench` does
PYTHONPATH=tests python -m benchmarks frozen_seeds --pairs 1  # a trial, which records nothing
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.claim import NO_WORK, Claim
from benchmarks.claims import CLAIMS
from benchmarks.machine import Machine, describe_machine
from benchmarks.measurement import Bench, Measurement, Side, side
from benchmarks.page import PAGE_FILE, build_page, describe_result
from benchmarks.processes import SideFailedError, measure_in_process
from benchmarks.record import RECORD_FILE, CaseResult, build_result, read_record, write_record
from benchmarks.rounds import Task, measure_rounds
from benchmarks.unfinished import UnfinishedRounds
from benchmarks.work_files import remove_cold_caches
from benchmarks.works import WORKS
from flows.settings import default_cache

DOCS = Path(__file__).parents[1] / "docs"

_SHORT_WORKS = ("a", "b-short", NO_WORK)
"""What is measured where no work is named: everything but what takes hours."""

_MISSED, _INTERRUPTED = 1, 130
"""Exit codes: a target is missed or a side has failed; Ctrl-C."""


def main(arguments: Sequence[str] | None = None, claims: Sequence[Claim] = CLAIMS, docs: Path = DOCS) -> int:
    """Do what the command line says.

    Args:
        arguments: The command line's, by default.
        claims: Those that there are.
        docs: Folder of the record and the page.

    Returns:
        The exit code.
    """
    options = _parser(claims).parse_args(arguments)
    chosen = [claim for claim in claims if not options.claims or claim.name in options.claims]
    if options.list:
        for claim in chosen:
            _say(f"{claim.name}: {claim.sentence}; {claim.target or 'for information'}")
        return 0
    if options.page:
        _write_page(claims, docs)
        return 0
    try:
        return _measure(_choose(chosen, options), options, claims, docs)
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from here.", file=sys.stderr)
        return _INTERRUPTED


def _parser(claims: Sequence[Claim]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [claim.name for claim in claims]
    # The empty list is argparse's own value where none is named; it looks for that among the choices, too.
    parser.add_argument("claims", nargs="*", choices=[*names, []], metavar="CLAIM", help="by default all; see --list")
    works = [*(work.name for work in WORKS), NO_WORK]
    parser.add_argument("--work", nargs="+", choices=works, default=_SHORT_WORKS, help="by default all but b")
    parser.add_argument("--pairs", type=int, help="a trial with so many pairs, which is not recorded")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="by default %(default)s")
    parser.add_argument("--cache", type=Path, default=Path(default_cache(), "bench"), help="by default %(default)s")
    parser.add_argument("--list", action="store_true", help="name the claims and measure nothing")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md anew and measure nothing")
    return parser


def _choose(claims: Sequence[Claim], options: argparse.Namespace) -> list[Task]:
    """Return what can be measured here, and say what cannot."""
    tasks: list[Task] = []
    for claim in claims:
        cases = [case for case in claim.cases if case.work in options.work]
        if not cases or (options.device == "cuda" and not claim.needs_device):
            continue
        if obstacle := claim.find_obstacle():
            _say(f"{claim.name}: not run, {obstacle}")
            continue
        tasks += [(claim, replace(case, pairs=options.pairs or case.pairs)) for case in cases]
    return tasks


def _measure(tasks: Sequence[Task], options: argparse.Namespace, claims: Sequence[Claim], docs: Path) -> int:
    """Measure, record each case as it is complete, and return the exit code."""
    bench = Bench(options.cache.expanduser().resolve(), options.device)
    bench.cache.mkdir(parents=True, exist_ok=True)
    remove_cold_caches(bench)
    machine = _find_machine(bench)
    _prepare_works(bench, tasks)
    name = f"trial-{options.pairs}" if options.pairs else "unfinished"
    unfinished = UnfinishedRounds(bench.cache / f"{name}-{bench.device}.jsonl", machine)
    failed: dict[str, None] = {}
    missed: list[str] = []

    def measure(one: Side) -> Measurement | None:
        try:
            return measure_in_process(one, bench)
        except SideFailedError as error:
            print(error, file=sys.stderr)
            failed[one.title] = None
            return None

    for claim, case, pairs in measure_rounds(tasks, unfinished, measure, _say):
        result = build_result(claim, case, pairs, bench.device, machine)
        line = f"{claim.name}, {case.title}: {describe_result(claim, case, result)}"
        _say(line)
        if not result.is_reached(claim, case):
            missed.append(line)
        if not options.pairs:
            _put(result, claims, docs)
    if not failed:
        unfinished.forget()
    for line in missed:
        _say(f"MISSED  {line}")
    for title in failed:
        _say(f"FAILED  {title}")
    return _MISSED if missed or failed else 0


def _find_machine(bench: Bench) -> Machine:
    if bench.device == "cpu":
        return describe_machine("cpu")
    gpu = measure_in_process(side("benchmarks.machine:name_gpu"), bench)
    return describe_machine("cuda", str(gpu.notes["device"]))


def _prepare_works(bench: Bench, tasks: Sequence[Task]) -> None:
    """Put on disk what is not there yet."""
    names = {case.work for _, case in tasks}
    for work in WORKS:
        if work.name in names:
            _say(f"preparing the work {work.name}")
            measure_in_process(side("benchmarks.work_files:prepare", work=work), bench)


def _put(result: CaseResult, claims: Sequence[Claim], docs: Path) -> None:
    write_record(docs / RECORD_FILE, read_record(docs / RECORD_FILE).put(result))
    _write_page(claims, docs)


def _write_page(claims: Sequence[Claim], docs: Path) -> None:
    page = build_page(claims, WORKS, read_record(docs / RECORD_FILE))
    (docs / PAGE_FILE).write_text(page, "utf-8")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
