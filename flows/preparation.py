"""The prepare step on the flow side: what is asked of workers, and what is made of their answers."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

from flows.executors import Executor, WorkerFailedError, WorkerState
from worker.contract.arms import Arm, BackboneSpec
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData, RunConfig, arm_training
from worker.contract.errors import DataError, ExitCode, PlanConflictError
from worker.contract.estimate import BackboneEstimates, EstimateRequest
from worker.contract.plan import Plan
from worker.contract.records import Record, content_hash, slug
from worker.contract.results import Failure
from worker.contract.store import ResultsStore, RunRecords

AnyRecord = TypeVar("AnyRecord", bound=Record)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks workers to prepare something, and what for."""

    executor: Executor
    plan: Plan
    on_change: Callable[[WorkerState], None] = lambda _state: None
    """Told where the worker is."""


@dataclass(frozen=True, slots=True)
class ReadyBackbone:
    """A backbone that arms can be trained on."""

    backbone: PreparedBackbone
    estimates: BackboneEstimates | None
    """What its arms will need; None where there is nothing to hold them to."""


PLAN_FILE = "plan.json"
DATA_FILE = "prepared/data.json"

_FRAME = ("steps", "batch_size", "eval_every", "max_tokens", "schedule", "warmup_steps", "final_lr_ratio")
"""Training settings that cannot change under one name."""


def check_plan(store: ResultsStore, plan: Plan) -> None:
    """Refuse a plan that changes the frame of the results under its name.

    Arms, seeds, learning rates and decay may change: what is no longer valid is made again. The data set and what the
    axis of the chart means may not.

    Raises:
        PlanConflictError: Names what differs.
    """
    stored = store.read_record(PurePosixPath(plan.comparison, PLAN_FILE), Plan)
    if stored is None:
        return
    frames = [
        {
            "data": each.data.model_dump(),
            "training": {key: getattr(each.training, key) for key in _FRAME},
        }
        for each in (stored, plan)
    ]
    differing = [
        f"{table}.{key} is {frames[1][table][key]!r}, was {was!r}"
        for table, settings in frames[0].items()
        for key, was in settings.items()
        if frames[1][table][key] != was
    ]
    if differing and _has_any_result(store, stored):
        raise _conflict(store, plan, "; ".join(differing))


def put_first_plan(store: ResultsStore, plan: Plan) -> None:
    """Put a plan down where there is none: whoever looks at the store knows the arms before their data is prepared.

    An older plan stays until the data set is known to be the same, because its results are drawn by it.
    """
    path = PurePosixPath(plan.comparison, PLAN_FILE)
    if store.read(path) is None:
        store.write_record(path, plan)


def _has_any_result(store: ResultsStore, plan: Plan) -> bool:
    records = (RunRecords(store, plan.comparison, arm.slug, seed) for arm in plan.arms for seed in plan.seeds)
    return any(store.read(each.result) is not None for each in records)


def check_data(store: ResultsStore, plan: Plan, data: PreparedData) -> None:
    """Refuse a data set whose content differs from that of the results under this name, and put down this one.

    Raises:
        PlanConflictError: The same source now has other content.
    """
    path = PurePosixPath(plan.comparison, DATA_FILE)
    stored = store.read_record(path, PreparedData)
    if stored is not None and stored.digest != data.digest and _has_any_result(store, plan):
        raise _conflict(store, plan, f"the content of {data.source} has changed")
    store.write_record(path, data)


def _conflict(store: ResultsStore, plan: Plan, differing: str) -> PlanConflictError:
    folder = store.locate(PurePosixPath(plan.comparison))
    return PlanConflictError(
        f"The comparison {plan.comparison!r} exists with other conditions: {differing}.",
        remedy=f"Give the plan another name, or move {folder} away.",
    )


def prepare_data(asker: Asker) -> PreparedData:
    """Have a worker load and split the data set.

    Raises:
        DataError: The source cannot be read, or cannot be split as asked.
        WorkerFailedError: The worker failed otherwise.
    """
    return _ask(asker, _prepare_config(asker, "data"), PreparedData)


def prepare_backbone(asker: Asker, spec: BackboneSpec, data: PreparedData) -> ReadyBackbone:
    """Have a worker fetch or make a backbone, and estimate what its arms will need if a limit of that is known.

    Raises:
        WorkerFailedError: It could not.
    """
    is_limited = asker.executor.memory_limit_bytes is not None
    request = request_estimates(asker.plan, spec) if is_limited else None
    config = _prepare_config(asker, _name(spec), backbone=spec, prepared_data=data, estimate=request)
    return ReadyBackbone(_ask(asker, config, PreparedBackbone), _take_estimates(asker, config))


def find_data(asker: Asker) -> PreparedData | None:
    """Return the data set if it is in the cache; nothing is loaded.

    Raises:
        DataError: Its source cannot be identified.
    """
    return _look(asker, _prepare_config(asker, "data", only_look=True), PreparedData)


def find_backbone(asker: Asker, spec: BackboneSpec, data: PreparedData) -> PreparedBackbone | None:
    """Return a backbone if it is in the cache; nothing is fetched or made.

    Raises:
        WorkerFailedError: Its source cannot be identified.
    """
    config = _prepare_config(asker, _name(spec), backbone=spec, prepared_data=data, only_look=True)
    return _look(asker, config, PreparedBackbone)


def look_at_backbone(
    asker: Asker, spec: BackboneSpec, data: PreparedData | None
) -> tuple[PreparedBackbone | None, BackboneEstimates | None]:
    """Return a backbone if it is in the cache, and what its arms will need whether or not it is.

    Args:
        asker: Whose workers also look at the device that they have.
        spec: The backbone; of one of the hub that is not in the cache, its config.json alone is fetched.
        data: The data set, if it is in the cache; otherwise every text is taken to be as long as is read of one.

    Raises:
        WorkerFailedError: Its source cannot be identified.
    """
    request = request_estimates(asker.plan, spec, measure_machine=True)
    config = _prepare_config(asker, _name(spec), backbone=spec, prepared_data=data, only_look=True, estimate=request)
    return _look(asker, config, PreparedBackbone), _take_estimates(asker, config)


def request_estimates(plan: Plan, spec: BackboneSpec, *, measure_machine: bool = False) -> EstimateRequest:
    """Return what a worker is asked about the arms of a backbone, in the order of the plan."""
    modes = dict.fromkeys(arm.mode for arm in plan.arms if arm.backbone == spec)
    return EstimateRequest(
        modes=tuple(modes), seeds=plan.seeds, training=plan.training, measure_machine=measure_machine
    )


def run_config(plan: Plan, arm: Arm, data: PreparedData, backbone: PreparedBackbone, execution: Execution) -> RunConfig:
    """Return what the worker of one arm is told, for all seeds."""
    return RunConfig(
        comparison=plan.comparison,
        arm=arm,
        seeds=plan.seeds,
        data=data,
        backbone=backbone,
        training=arm_training(plan.training, arm.mode),
        execution=execution,
    )


def _name(spec: BackboneSpec) -> str:
    return f"{slug(spec.short_name)}-{content_hash(spec.model_dump())[:8]}"


def _prepare_config(asker: Asker, name: str, *, only_look: bool = False, **about: Any) -> PrepareConfig:  # noqa: ANN401 - fields of PrepareConfig
    return PrepareConfig(
        comparison=asker.plan.comparison,
        name=f"prepare-{name}",
        answer=f"{asker.plan.comparison}/prepared/{name}-answer{f'-{uuid.uuid4().hex}' if only_look else ''}.json",
        data=asker.plan.data,
        only_look=only_look,
        execution=asker.executor.execution,
        **about,
    )


def _ask(asker: Asker, config: PrepareConfig, form: type[AnyRecord]) -> AnyRecord:
    answer = _look(asker, config, form)
    if answer is None:
        problem = f"{config.name} ended well but left no answer in {config.execution.results}."
        remedy = "Make sure that workers see the same results store as the flow."
        raise WorkerFailedError(config.name, Failure(exit_code=ExitCode.ERROR, problem=problem, remedy=remedy))
    return answer


def _look(asker: Asker, config: PrepareConfig, form: type[AnyRecord]) -> AnyRecord | None:
    outcome = asker.executor.run(config, asker.on_change)
    if outcome.failure:
        if config.backbone is None and outcome.failure.exit_code == ExitCode.DATA:
            raise DataError(outcome.failure.problem, remedy=outcome.failure.remedy)
        name = config.backbone.source if config.backbone else config.data.source
        raise WorkerFailedError(name, outcome.failure, is_exhausted=outcome.is_exhausted)
    return _take(asker, config, config.answer, form)


def _take_estimates(asker: Asker, config: PrepareConfig) -> BackboneEstimates | None:
    return _take(asker, config, config.estimates_answer, BackboneEstimates) if config.estimate else None


def _take(asker: Asker, config: PrepareConfig, answer: str, form: type[AnyRecord]) -> AnyRecord | None:
    """Read an answer, and delete it unless a flow that adopts the worker may want it again."""
    store, path = ResultsStore(config.execution.results), PurePosixPath(answer)
    record = store.read_record(path, form)
    if config.only_look or not asker.executor.workers_outlive_flow:
        store.delete(path)
    return record
