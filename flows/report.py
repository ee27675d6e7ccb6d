"""The report: reads a comparison out of the results store, proves it, and puts chart and numbers beside it.

Everything drawn comes from the store, so a report can be made again at any time and anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flows.collect import collect_runs, read_plan
from flows.comparison import Comparison, build_comparison
from flows.plot import render_comparison
from flows.preparation import PLAN_FILE
from worker.contract.config import PreparedData
from worker.contract.errors import ArmsFailedError, ConfigError, ResultError
from worker.contract.patience import LOOK_PATIENCE_SECONDS
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class FoundComparison:
    """A comparison in a results store.

    Attributes:
        store: The store that holds it.
        plan: Its plan; says in which folder of the store it lies.
    """

    store: ResultsStore
    plan: Plan


def redraw(path_or_url: str, show: Callable[[ResultsStore, Comparison], object]) -> None:
    """Write the report of every comparison that is found. One that cannot be read does not hide the others.

    Args:
        path_or_url: As for ``find_comparisons``.
        show: Called with each comparison that was drawn, and the store that holds it.

    Raises:
        ConfigError: There is no comparison.
        ResultError: None of them can be read.
        ArmsFailedError: Some were drawn; arms of them, or other comparisons, are missing.
        StoreError: The store cannot be read or written.
    """
    broken: list[ResultError] = []
    drawn: list[Comparison] = []
    for found in find_comparisons(path_or_url, broken.append):
        try:
            drawn.append(write_report(found.store, found.plan))
        except ResultError as error:
            broken.append(error)
        else:
            show(found.store, drawn[-1])
    if not drawn and broken:
        raise broken[0]
    if not drawn:
        raise ConfigError(f"There is no comparison in {path_or_url}.", remedy="Name a results store or a folder in it.")
    gaps = [f"{gap.label}: {gap.reason}" for comparison in drawn for gap in comparison.missing]
    missing = [f"Arms without results: {'; '.join(gaps)}"] if gaps else []
    if missing or broken:
        raise ArmsFailedError(
            "\n".join([*missing, *(error.problem for error in broken)]),
            remedy=" ".join([*(["Run their plans again."] if gaps else []), *(error.remedy for error in broken)]),
        )


def find_comparisons(
    path_or_url: str, on_broken: Callable[[ResultError], object] | None = None
) -> list[FoundComparison]:
    """Find the comparisons below a results store, or the one in a comparison's own folder.

    Args:
        path_or_url: Root of a results store or folder of one comparison, on disk or as an fsspec URL.
        on_broken: Told of each that cannot be read, so that the others are found; without it the first one raises.

    Returns:
        The comparisons by folder name; empty if there is none.

    Raises:
        ResultError: A ``plan.json`` is not a plan, or lies in a folder that does not have its comparison's name.
        StoreError: The store cannot be read.
    """
    store = ResultsStore(path_or_url, LOOK_PATIENCE_SECONDS)
    found: list[FoundComparison] = []
    if store.read(PurePosixPath(PLAN_FILE)) is None:
        names = store.folder_names(PurePosixPath())
    else:
        parent, folder = _split_last(path_or_url)
        store, names = ResultsStore(parent, LOOK_PATIENCE_SECONDS), [folder]
    for name in names:
        try:
            plan = read_plan(store, name)
            if plan is not None:
                found.append(FoundComparison(store=store, plan=plan))
        except ResultError as error:
            if on_broken is None:
                raise
            on_broken(error)
    return found


def write_report(store: ResultsStore, plan: Plan) -> Comparison:
    """Put ``comparison.png``, ``comparison.svg`` and ``comparison.json`` into a comparison's folder.

    Made of what the store holds at this moment: with half of the arms finished, the rest is named as missing.

    Returns:
        The comparison. It is written last: whoever sees a new one sees its charts.

    Raises:
        ResultError: ``prepared/data.json`` is not readable.
    """
    folder = PurePosixPath(plan.comparison)
    data = store.read_record(folder / "prepared" / "data.json", PreparedData)
    collected = collect_runs(store, plan, data)
    comparison = build_comparison(plan, data, collected.runs, collected.failures)
    for name, content in render_comparison(comparison).items():
        store.write(folder / name, content)
    store.write_record(folder / COMPARISON_FILE, comparison)
    return comparison


def _split_last(path_or_url: str) -> tuple[str, str]:
    """Return where the parent of a folder is, and the folder's name."""
    if "://" in path_or_url:
        parent, separator, name = path_or_url.rstrip("/").rpartition("/")
        return parent + separator, name
    path = Path(path_or_url).expanduser().resolve()
    return str(path.parent), path.name
