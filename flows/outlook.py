"""``freeze-bench plan``: what a plan would run, and what of it is done. Trains and fetches nothing."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.executors import WorkerFailedError
from flows.executors.local import open_local_executor
from flows.preparation import Asker, check_plan, find_backbone, find_data, run_config
from flows.settings import RunnerSettings
from worker.contract.arms import Arm, BackboneSpec
from worker.contract.config import Execution, PreparedBackbone, PreparedData
from worker.contract.patience import LOOK_PATIENCE_SECONDS
from worker.contract.plan import Plan
from worker.contract.proof import is_done
from worker.contract.store import ResultsStore


@dataclass(frozen=True, slots=True)
class ArmOutlook:
    """What would happen to one arm."""

    arm: Arm
    backbone: PreparedBackbone | None
    """None if it is not in the cache yet."""
    done_seeds: tuple[int, ...]
    problem: str | None
    """Why the arm would fail already when it is prepared."""


def look_ahead(plan: Plan, settings: RunnerSettings) -> list[ArmOutlook]:
    """Find out what is in cache and store.

    Raises:
        PlanConflictError: The store holds another experiment under this name.
        DataError: The data set cannot be identified.
    """
    check_plan(ResultsStore(settings.results, LOOK_PATIENCE_SECONDS), plan)
    execution = Execution(results=settings.results, cache=settings.cache)
    with tempfile.TemporaryDirectory(prefix="freeze-bench-") as answers:
        executor = open_local_executor(settings.model_copy(update={"results": answers}), plan.comparison)
        asker = Asker(executor, plan)
        data = find_data(asker)
        specs = list(dict.fromkeys(arm.backbone for arm in plan.arms))

        def find(spec: BackboneSpec) -> PreparedBackbone | str | None:
            try:
                return find_backbone(asker, spec, data) if data else None
            except WorkerFailedError as error:
                return f"{error.failure.problem} {error.failure.remedy}"

        with ThreadPoolExecutor() as threads:
            found = dict(zip(specs, threads.map(find, specs), strict=True))
    return [_outlook(plan, arm, data, found[arm.backbone], execution) for arm in plan.arms]


def show_outlook(plan: Plan, settings: RunnerSettings, console: Console) -> None:
    """Print the settings that all arms share, and a line per arm."""
    outlooks = look_ahead(plan, settings)
    console.print(Text(plan.name, style="bold"), f"in {settings.results}/{plan.comparison}")
    for title, record in (("data", plan.data), ("training", plan.training)):
        values = ", ".join(f"{key} {value}" for key, value in record.model_dump(exclude_none=True).items())
        console.print(f"{title}: {values}")
    table = Table("arm", "mode", "backbone", "prepared", "done", "to run", box=None, pad_edge=False)
    for outlook in outlooks:
        to_run = [seed for seed in plan.seeds if seed not in outlook.done_seeds]
        table.add_row(
            outlook.arm.label,
            outlook.arm.mode,
            outlook.arm.backbone.source,
            outlook.backbone.revision[:12] if outlook.backbone else "no",
            _list_seeds(outlook.done_seeds),
            _list_seeds(to_run),
        )
    console.print(table)
    for outlook in outlooks:
        if outlook.problem:
            console.print(f"{outlook.arm.label} would fail: {outlook.problem}", style="red")


def _outlook(
    plan: Plan,
    arm: Arm,
    data: PreparedData | None,
    found: PreparedBackbone | str | None,
    execution: Execution,
) -> ArmOutlook:
    if data is None or found is None or isinstance(found, str):
        return ArmOutlook(arm, None, (), found if isinstance(found, str) else None)
    config = run_config(plan, arm, data, found, execution)
    store = ResultsStore(execution.results, LOOK_PATIENCE_SECONDS)
    done = tuple(seed for seed in plan.seeds if is_done(store, config, seed))
    return ArmOutlook(arm, found, done, None)


def _list_seeds(seeds: Sequence[int]) -> str:
    return ", ".join(f"seed {seed}" for seed in seeds) or "-"
