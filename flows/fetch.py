"""``freeze-bench fetch``: copies a comparison from a results store into a folder of this machine."""

from pathlib import PurePosixPath

from pydantic import Field
from rich.console import Console

from flows.collect import read_plan, read_run
from flows.settings import absolute_location
from worker.contract.errors import ConfigError, ResultError
from worker.contract.locks import only_run_of
from worker.contract.plan import Plan
from worker.contract.records import Record, slug
from worker.contract.store import ResultsStore, RunRecords

ORIGIN_FILE = "fetched.json"
"""In a fetched comparison's folder: where it is from. What has none was made here and is never written over."""


class Origin(Record):
    """Where a fetched comparison is from."""

    results: str = Field(description="Results store that it was copied from.")


def fetch_comparison(name: str, results: str, folder: str, console: Console) -> None:
    """Copy every record of a comparison, each file whole, results after what they are made of.

    What was fetched before and is proven whole is not fetched again, so an interrupted fetch goes on where it was.

    Args:
        name: Name of the comparison.
        results: Results store to copy from.
        folder: Results store of this machine to copy to.
        console: Told what was copied, and what can be done with it.

    Raises:
        ConfigError: The store has no such comparison, or the folder has another one of this name.
        ResultError: The store's plan is torn or of another name, or some runs did not arrive whole.
        ComparisonBusyError: The comparison is being run or fetched in the folder.
    """
    origin = Origin(results=absolute_location(results))
    source, target = ResultsStore(origin.results), ResultsStore(absolute_location(folder))
    comparison = slug(name)
    plan = read_plan(source, comparison) if comparison else None
    if plan is None:
        raise ConfigError(
            f"There is no comparison {name!r} in {results}.",
            remedy="Check the name (the folder's or the plan's), and --results; the run may not have begun yet.",
        )
    _check_target(target, comparison, origin, folder)
    with only_run_of(target, comparison):
        target.write_record(PurePosixPath(comparison, ORIGIN_FILE), origin)
        num_copied = sum(_copy(source, target, path) for path in _missing(source, target, plan))
        num_copied += _repair(source, target, plan)
    console.print(f"Fetched {plan.name}: {num_copied} files are new or have changed.")
    console.print(f"Draw it: freeze-bench report {target.locate(PurePosixPath(comparison))}", soft_wrap=True)


def _check_target(target: ResultsStore, comparison: str, origin: Origin, folder: str) -> None:
    if target.url == origin.results:
        raise ConfigError(
            f"{folder} is the results store itself.", remedy="Name the store in --results, and another folder in --to."
        )
    known = target.read_record(PurePosixPath(comparison, ORIGIN_FILE), Origin)
    if known == origin or (known is None and not target.walk(PurePosixPath(comparison))):
        return
    what = "one that was made here" if known is None else f"one from {known.results}"
    raise ConfigError(
        f"{target.locate(PurePosixPath(comparison))} holds another comparison of this name, {what}.",
        remedy="Fetch into another folder with --to, or move that one away.",
    )


def _missing(source: ResultsStore, target: ResultsStore, plan: Plan) -> list[PurePosixPath]:
    """Return what may have to be copied: results after what they are made of, the comparison's own files last."""
    folder = PurePosixPath(plan.comparison)
    whole: set[PurePosixPath] = set()
    for run in _runs(target, plan):
        if _is_whole(run) and target.read(run.result) == source.read(run.result):
            whole |= {run.curve, run.predictions, run.result}
    paths = [path for path in source.walk(folder) if path not in whole and path.name != ORIGIN_FILE]
    return sorted(paths, key=lambda path: (path.parent == folder, path.name == "result.json", path))


def _repair(source: ResultsStore, target: ResultsStore, plan: Plan) -> int:
    """Copy again what was made again in the store while it was copied; return how many files that were."""
    torn = [run for run in _runs(target, plan) if target.read(run.result) is not None and not _is_whole(run)]
    num_copied = sum(_copy(source, target, path) for run in torn for path in (run.curve, run.predictions, run.result))
    broken = [target.locate(run.result.parent) for run in torn if not _is_whole(run)]
    if broken:
        raise ResultError(
            f"{plan.name} was fetched, but {len(broken)} runs are not whole: {', '.join(broken)}.",
            remedy="They are torn in the store, or are being made again there: fetch again when they are done.",
        )
    return num_copied


def _runs(store: ResultsStore, plan: Plan) -> list[RunRecords]:
    return [RunRecords(store, plan.comparison, arm.slug, seed) for arm in plan.arms for seed in plan.seeds]


def _is_whole(records: RunRecords) -> bool:
    try:
        return read_run(records) is not None
    except ResultError:
        return False


def _copy(source: ResultsStore, target: ResultsStore, path: PurePosixPath) -> bool:
    """Copy one file; return whether that changed anything. A file that is gone meanwhile is no longer wanted."""
    content = source.read(path)
    if content is None or content == target.read(path):
        return False
    target.write(path, content)
    return True
