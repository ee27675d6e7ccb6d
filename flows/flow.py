"""The flow ``compare-backbones``: prepare, train every arm, draw the comparison.

plan → prepare (the data set, then each distinct backbone) → one task per arm → report → artifacts.
Prefect sees every step as a task; what the steps do lies in the modules beside this one.
"""

import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import cast

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from flows.artifacts import publish_artifacts
from flows.comparison import Comparison
from flows.context import FlowContext
from flows.executors import WorkerFailedError
from flows.executors.local import open_local_executor
from flows.fetch import ORIGIN_FILE
from flows.plot import render_comparison
from flows.preparation import (
    PLAN_FILE,
    check_data,
    check_plan,
    prepare_backbone,
    prepare_data,
    run_config,
)
from flows.report import write_report
from flows.runner import end_with_runner
from flows.settings import RunnerSettings
from flows.status import StatusBoard
from worker.contract.arms import Arm, BackboneSpec
from worker.contract.config import PreparedBackbone, PreparedData
from worker.contract.errors import ArmsFailedError, ExitCode
from worker.contract.locks import only_run_of
from worker.contract.plan import Plan
from worker.contract.proof import is_done
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore

MAX_TASKS_AT_ONCE = 1024
"""Threads of tasks: nearly all of them only wait for a place."""


def _may_help(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """Whether a failed worker may do better when started again."""
    error = state.result(raise_on_failure=False)
    permanent = {code.value for code in ExitCode if code.is_permanent}
    return isinstance(error, WorkerFailedError) and error.failure.exit_code not in permanent


@task(name="prepare-data", cache_policy=NO_CACHE, retries=1, retry_condition_fn=_may_help)
def prepare_data_task(context: FlowContext) -> PreparedData:
    """Load and split the data set, and make sure that it is the one that this comparison is about."""
    with context.board.showing_failures([arm.slug for arm in context.plan.arms]):
        data = prepare_data(context.executor, context.plan)
        check_data(context.store, context.plan, data)
    context.store.write_record(PurePosixPath(context.plan.comparison, PLAN_FILE), context.plan)
    return data


@task(
    name="prepare-backbone",
    task_run_name="prepare {spec.source}",
    cache_policy=NO_CACHE,
    retries=1,
    retry_condition_fn=_may_help,
)
def prepare_backbone_task(context: FlowContext, spec: BackboneSpec, data: PreparedData) -> PreparedBackbone:
    """Fetch or make one backbone, for every arm that uses it."""

    def show_start() -> None:
        for arm in context.arms_with(spec):
            context.board.enter(arm, ArmState.PREPARING)

    with context.board.showing_failures(context.arms_with(spec)):
        return prepare_backbone(context.executor, context.plan, spec, data, show_start)


@task(
    name="run-arm",
    task_run_name="{arm.label}",
    cache_policy=NO_CACHE,
    retries=1,
    retry_condition_fn=_may_help,
)
def run_arm_task(context: FlowContext, arm: Arm, data: PreparedData, backbone: PreparedBackbone) -> ArmState:
    """Train the seeds of one arm whose results are not in the store yet."""
    with context.board.showing_failures([arm.slug]):
        config = run_config(context.plan, arm, data, backbone, context.executor.execution)
        reused = [seed for seed in config.seeds if is_done(context.store, config, seed)]
        context.board.set_reused(arm.slug, reused)
        missing = tuple(seed for seed in config.seeds if seed not in reused)
        if not missing:
            get_run_logger().info("%s: every seed is in the results store; nothing to run.", arm.label)
            context.board.enter(arm.slug, ArmState.REUSED)
            return ArmState.REUSED
        context.board.enter(arm.slug, ArmState.QUEUED)
        outcome = context.executor.run(
            config.model_copy(update={"seeds": missing}),
            lambda: context.board.enter(arm.slug, ArmState.RUNNING),
        )
        if outcome.failure:
            raise WorkerFailedError(arm.label, outcome.failure)
        context.board.enter(arm.slug, ArmState.DONE)
        return ArmState.DONE


@task(name="draw-comparison", cache_policy=NO_CACHE)
def draw_comparison_task(context: FlowContext) -> Comparison:
    """Draw chart and table of what is in the store, and show them in the Prefect UI."""
    comparison = write_report(context.store, context.plan)
    folder = PurePosixPath(context.plan.comparison)
    publish_artifacts(comparison, render_comparison(comparison)["comparison.png"], context.store.locate(folder))
    return comparison


@flow(
    name="compare-backbones",
    flow_run_name="{plan.name}",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TASKS_AT_ONCE),  # type: ignore[arg-type] # generic in its future
)
def compare_backbones(plan: Plan, settings: RunnerSettings | None = None, *, fresh: bool = False) -> Comparison:
    """Train every arm of a plan under the same conditions, and compare them.

    Args:
        plan: What to compare.
        settings: Where results and cache are, and how many workers run at once; by default from the environment.
        fresh: Make results again that are in the store already.

    Raises:
        ArmsFailedError: Some arms have no result; the comparison of the others is drawn all the same.
        ComparisonBusyError: The same comparison is being run already.
        PlanConflictError: The store holds another experiment under this name.
    """
    end_with_runner()
    settings = settings or RunnerSettings()
    store = ResultsStore(settings.results)
    with only_run_of(store, plan.comparison) as is_ours:
        check_plan(store, plan)
        store.delete(PurePosixPath(plan.comparison, ORIGIN_FILE))  # made here from now on: no fetch may write over it
        return _compare(plan, settings, store, is_ours, fresh=fresh)


def _compare(
    plan: Plan, settings: RunnerSettings, store: ResultsStore, is_ours: Callable[[], bool], *, fresh: bool
) -> Comparison:
    board = StatusBoard(store, plan, runtime.flow_run.id or "none")
    executor = open_local_executor(settings, plan.comparison, fresh_since=_created_at() if fresh else None)
    context = FlowContext(plan, store, executor, board)
    try:
        _run_arms(context)
    except BaseException:
        # Also on Ctrl-C, SIGTERM and cancellation: the tasks' threads wait for workers, and end with them.
        if not is_ours():
            board.close()  # before anything else: the statuses are another process's
        executor.close(at_once=not is_ours())
        if is_ours():
            board.cancel_unfinished()
        raise
    comparison = draw_comparison_task(context)
    if comparison.missing:
        names = "; ".join(f"{gap.label}: {gap.reason}" for gap in comparison.missing)
        raise ArmsFailedError(
            f"{len(comparison.missing)} of {len(plan.arms)} arms lack results. {names}",
            remedy=" ".join([*board.remedies(), "Then run the same command again: what is done is kept."]),
        )
    return comparison


def _created_at() -> float:
    """Return when this flow run came into the world: the same moment when it is retried."""
    context = FlowRunContext.get()
    created = context.flow_run.created if context and context.flow_run else None
    return created.timestamp() if created else time.time()


def _run_arms(context: FlowContext) -> None:
    """Submit all work, and wait until every arm has ended one way or another."""
    data = prepare_data_task(context)
    backbones = {
        spec: prepare_backbone_task.submit(context, spec, data)
        for spec in dict.fromkeys(arm.backbone for arm in context.plan.arms)
    }
    # Prefect waits for the backbone and hands its value over, which its types do not say.
    arms = [
        run_arm_task.submit(context, arm, data, cast("PreparedBackbone", backbones[arm.backbone]))
        for arm in context.plan.arms
    ]
    for future in arms:
        future.wait()
