"""The flow ``compare-backbones``: prepare, train every arm, draw the comparison.

plan → prepare (the data set, then each distinct backbone) → one task per arm → report → artifacts.
Prefect sees every step as a task; what the steps do lies in the modules beside this one.
"""

import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, cast
from uuid import UUID

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.context import FlowRunContext
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from flows.artifacts import publish_artifacts
from flows.comparison import Comparison
from flows.context import FlowContext
from flows.executors import CloseReason, Executor, WorkerFailedError, WorkerState
from flows.executors.local import open_local_executor
from flows.fetch import ORIGIN_FILE
from flows.flow_runs import has_other_run
from flows.plot import render_comparison
from flows.preparation import (
    PLAN_FILE,
    Asker,
    ReadyBackbone,
    check_data,
    check_plan,
    prepare_backbone,
    prepare_data,
    put_first_plan,
    run_config,
)
from flows.recovery import end_at_once_with_runner
from flows.report import write_report
from flows.results_server import link_results
from flows.runner import end_with_runner
from flows.settings import RunnerSettings
from flows.status import StatusBoard
from worker.contract.arms import Arm, BackboneSpec
from worker.contract.config import PreparedData
from worker.contract.errors import ArmsFailedError, ExitCode
from worker.contract.estimate import BackboneEstimates, check_memory
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
    return isinstance(error, WorkerFailedError) and not error.is_exhausted and error.failure.exit_code not in permanent


@task(name="prepare-data", cache_policy=NO_CACHE, retries=1, retry_condition_fn=_may_help)
def prepare_data_task(context: FlowContext) -> PreparedData:
    """Load and split the data set, and make sure that it is the one that this comparison is about."""
    arms = [arm.slug for arm in context.plan.arms]
    with context.board.showing_failures(arms):
        data = prepare_data(_asker(context, arms))
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
def prepare_backbone_task(context: FlowContext, spec: BackboneSpec, data: PreparedData) -> ReadyBackbone:
    """Fetch or make one backbone, for every arm that uses it."""
    arms = context.arms_with(spec)
    with context.board.showing_failures(arms):
        return prepare_backbone(_asker(context, arms), spec, data)


def _asker(context: FlowContext, arms: list[str]) -> Asker:
    """Return who asks for what arms wait for, and shows with each arm where that is."""

    def show(state: WorkerState) -> None:
        for arm in arms:
            if state.state is ArmState.RUNNING:
                context.board.enter(arm, ArmState.PREPARING)
            else:
                context.board.enter(arm, ArmState.WAITING, detail=state.detail)

    return Asker(context.executor, context.plan, show)


@task(
    name="run-arm",
    task_run_name="{arm.label}",
    cache_policy=NO_CACHE,
    retries=1,
    retry_condition_fn=_may_help,
)
def run_arm_task(context: FlowContext, arm: Arm, data: PreparedData, ready: ReadyBackbone) -> ArmState:
    """Train the seeds of one arm whose results are not in the store yet, if a GPU can hold it."""
    with context.board.showing_failures([arm.slug]):
        config = run_config(context.plan, arm, data, ready.backbone, context.executor.execution)
        reused = [seed for seed in config.seeds if is_done(context.store, config, seed)]
        context.board.set_reused(arm.slug, reused)
        missing = tuple(seed for seed in config.seeds if seed not in reused)
        if not missing:
            get_run_logger().info("%s: every seed is in the results store; nothing to run.", arm.label)
            context.board.enter(arm.slug, ArmState.REUSED)
            return ArmState.REUSED
        _check_memory(context, arm, ready.estimates)
        context.board.enter(arm.slug, ArmState.QUEUED)
        # Told of all seeds: the worker leaves out what is done, and its Job is the same after a restart of the runner.
        outcome = context.executor.run(config, lambda state: _show(context, arm, state))
        # A worker may be gone before anybody has heard that it was done: its results say so.
        if outcome.failure and not all(is_done(context.store, config, seed) for seed in missing):
            raise WorkerFailedError(arm.label, outcome.failure, is_exhausted=outcome.is_exhausted)
        context.board.enter(arm.slug, ArmState.DONE)
        return ArmState.DONE


def _check_memory(context: FlowContext, arm: Arm, estimates: BackboneEstimates | None) -> None:
    """Refuse an arm that no GPU holds, before it waits for one; one that could not be estimated may try.

    So may one that computes on the CPU, although there are GPUs.
    """
    limit, estimate = context.executor.memory_limit_bytes, estimates.of(arm.mode) if estimates else None
    if estimates and estimates.problem:
        get_run_logger().warning("%s: whether it fits a GPU is not known: %s", arm.label, estimates.problem)
    if limit is not None and estimate is not None and estimate.device == "cuda":
        check_memory(arm.label, estimate, context.plan.training, limit)


def _show(context: FlowContext, arm: Arm, state: WorkerState) -> None:
    """Put down where an arm's worker is, and what it waits for."""
    if state.detail:
        get_run_logger().info("%s: %s, %s", arm.label, state.state, state.detail)
    context.board.enter(arm.slug, state.state, detail=state.detail)


@task(name="draw-comparison", cache_policy=NO_CACHE)
def draw_comparison_task(context: FlowContext) -> Comparison:
    """Draw chart and table of what is in the store, and show them in the Prefect UI."""
    comparison = write_report(context.store, context.plan)
    folder = PurePosixPath(context.plan.comparison)
    location = link_results(context.plan.comparison) or context.store.locate(folder)
    publish_artifacts(comparison, render_comparison(comparison)["comparison.png"], location)
    return comparison


def _end_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect's names
    """Delete the Jobs of a cancelled comparison, where its own process could not: it is given 30 s for that.

    Another flow run of the same comparison has them already, and keeps them.
    """
    parameters = flow_run.parameters or {}
    settings = RunnerSettings.model_validate(parameters.get("settings") or {})
    if settings.executor == "kubernetes":
        from flows.executors.kubernetes import delete_jobs  # noqa: PLC0415 - loads Kubernetes' client

        comparison = Plan.model_validate(parameters["plan"]).comparison
        with get_client(sync_client=True) as client:
            is_shared = has_other_run(client, comparison, flow_run.id)
        if not is_shared:
            delete_jobs(comparison)


@flow(
    name="compare-backbones",
    flow_run_name="{plan.name}",
    on_cancellation=[_end_jobs],
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_TASKS_AT_ONCE),  # type: ignore[arg-type] # generic in its future
)
def compare_backbones(plan: Plan, settings: RunnerSettings | None = None, *, fresh: bool = False) -> Comparison:
    """Train every arm of a plan under the same conditions, and compare them.

    Args:
        plan: What to compare.
        settings: Where results and cache are, and how workers are run; by default from the environment.
        fresh: Make results again that are in the store already.

    Raises:
        ArmsFailedError: Some arms have no result; the comparison of the others is drawn all the same.
        ConfigError: The cluster cannot run this plan: no Job was made.
        ComparisonBusyError: The same comparison is being run already.
        PlanConflictError: The store holds another experiment under this name.
    """
    settings = settings or RunnerSettings()
    if settings.executor == "kubernetes":
        end_at_once_with_runner()  # the Jobs go on, for the next runner
    else:
        end_with_runner()
    store = ResultsStore(settings.results)
    with only_run_of(store, plan.comparison) as is_ours:
        check_plan(store, plan)
        store.delete(PurePosixPath(plan.comparison, ORIGIN_FILE))  # made here from now on: no fetch may write over it
        return _compare(plan, settings, store, is_ours, fresh=fresh)


def _compare(
    plan: Plan, settings: RunnerSettings, store: ResultsStore, is_ours: Callable[[], bool], *, fresh: bool
) -> Comparison:
    flow_run = runtime.flow_run.id or str(UUID(int=0))
    executor = _open_executor(settings, plan, flow_run, fresh_since=_created_at() if fresh else None)
    board = StatusBoard(store, plan, flow_run)
    put_first_plan(store, plan)
    context = FlowContext(plan, store, executor, board)
    try:
        _run_arms(context)
    except BaseException as error:
        # Also on Ctrl-C, SIGTERM and cancellation: the tasks' threads wait for workers, and end with them.
        if not is_ours():
            board.close()  # before anything else: the statuses are another process's
        executor.close(_close_reason(error, is_ours))
        if is_ours():
            board.cancel_unfinished()
        raise
    executor.close(CloseReason.DONE)
    comparison = draw_comparison_task(context)
    if comparison.missing:
        names = "; ".join(f"{gap.label}: {gap.reason}" for gap in comparison.missing)
        raise ArmsFailedError(
            f"{len(comparison.missing)} of {len(plan.arms)} arms lack results. {names}",
            remedy=" ".join([*board.remedies(), "Then run the same command again: what is done is kept."]),
        )
    return comparison


def _open_executor(settings: RunnerSettings, plan: Plan, flow_run: str, *, fresh_since: float | None) -> Executor:
    if settings.executor == "kubernetes":
        from flows.executors.kubernetes import open_kubernetes_executor  # noqa: PLC0415 - loads Kubernetes' client

        return open_kubernetes_executor(settings, plan, flow_run=flow_run, fresh_since=fresh_since)
    return open_local_executor(settings, plan.comparison, fresh_since=fresh_since)


def _close_reason(error: BaseException, is_ours: Callable[[], bool]) -> CloseReason:
    if not is_ours():
        return CloseReason.TAKEN_OVER
    # Prefect's and the terminal's wish that it ends is no Exception; what went wrong is.
    return CloseReason.FAILED if isinstance(error, Exception) else CloseReason.CANCELLED


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
        run_arm_task.submit(context, arm, data, cast("ReadyBackbone", backbones[arm.backbone]))
        for arm in context.plan.arms
    ]
    for future in arms:
        future.wait()
