"""``freeze-bench plan``: what a plan would run, what of it is done, and what it needs. Trains nothing."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from flows.executors import WorkerFailedError
from flows.executors.local import open_local_executor
from flows.preparation import Asker, check_plan, find_backbone, find_data, look_at_backbone, run_config
from flows.settings import RunnerSettings
from worker.contract.arms import Arm, BackboneSpec
from worker.contract.config import Execution, PreparedBackbone, PreparedData
from worker.contract.estimate import ArmEstimate, BackboneEstimates, Machine
from worker.contract.patience import LOOK_PATIENCE_SECONDS
from worker.contract.plan import Plan
from worker.contract.proof import is_done
from worker.contract.store import ResultsStore

Finding = tuple[PreparedBackbone | None, BackboneEstimates | None]
"""What a look at one backbone has found."""


@dataclass(frozen=True, slots=True)
class ArmOutlook:
    """What would happen to one arm."""

    arm: Arm
    backbone: PreparedBackbone | None
    """None if it is not in the cache yet."""
    done_seeds: tuple[int, ...]
    problem: str | None
    """Why the arm would fail already when it is prepared."""
    estimates: BackboneEstimates | None = None
    """What the arms of its backbone need, where that was asked."""

    @property
    def estimate(self) -> ArmEstimate | None:
        """What this arm needs, if that is known."""
        return self.estimates.of(self.arm.mode) if self.estimates else None

    @property
    def machine(self) -> Machine | None:
        """The device that it would run on, if a worker has looked at it."""
        return self.estimates.machine if self.estimates else None


def look_ahead(plan: Plan, settings: RunnerSettings) -> list[ArmOutlook]:
    """Find out what is in cache and store.

    Raises:
        PlanConflictError: The store holds another experiment under this name.
        DataError: The data set cannot be identified.
    """

    def look(asker: Asker, spec: BackboneSpec, data: PreparedData | None) -> Finding:
        return (find_backbone(asker, spec, data) if data else None), None

    return _look_ahead(plan, settings, look)


def look_ahead_with_estimates(plan: Plan, settings: RunnerSettings) -> list[ArmOutlook]:
    """Find out what is in cache and store, and what each arm needs.

    Raises:
        PlanConflictError: The store holds another experiment under this name.
        DataError: The data set cannot be identified.
    """
    return _look_ahead(plan, settings, look_at_backbone)


def _look_ahead(
    plan: Plan, settings: RunnerSettings, look: Callable[[Asker, BackboneSpec, PreparedData | None], Finding]
) -> list[ArmOutlook]:
    check_plan(ResultsStore(settings.results, LOOK_PATIENCE_SECONDS), plan)
    with tempfile.TemporaryDirectory(prefix="freeze-bench-") as answers:
        executor = open_local_executor(settings.model_copy(update={"results": answers}), plan.comparison)
        asker = Asker(executor, plan)
        data = find_data(asker)

        def find(spec: BackboneSpec) -> Finding | str:
            try:
                return look(asker, spec, data)
            except WorkerFailedError as error:
                return f"{error.failure.problem} {error.failure.remedy}"

        specs = list(dict.fromkeys(arm.backbone for arm in plan.arms))
        with ThreadPoolExecutor() as threads:
            found = dict(zip(specs, threads.map(find, specs), strict=True))
    execution = Execution(results=settings.results, cache=settings.cache)
    return [_outlook(plan, arm, data, found[arm.backbone], execution) for arm in plan.arms]


def _outlook(plan: Plan, arm: Arm, data: PreparedData | None, found: Finding | str, execution: Execution) -> ArmOutlook:
    if isinstance(found, str):
        return ArmOutlook(arm, None, (), found)
    backbone, estimates = found
    if data is None or backbone is None:
        return ArmOutlook(arm, None, (), None, estimates)
    config = run_config(plan, arm, data, backbone, execution)
    store = ResultsStore(execution.results, LOOK_PATIENCE_SECONDS)
    done = tuple(seed for seed in plan.seeds if is_done(store, config, seed))
    return ArmOutlook(arm, backbone, done, None, estimates)
