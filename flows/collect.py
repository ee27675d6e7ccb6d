"""Collecting: reads the runs of a comparison out of the results store, and proves each before it counts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pydantic import ValidationError

from flows.comparison import NO_RESULT, ArmRun
from flows.preparation import PLAN_FILE
from flows.status import read_status
from worker.contract.arms import Arm
from worker.contract.config import PreparedData, RunConfig, arm_training
from worker.contract.errors import ResultError, StoreError
from worker.contract.plan import Plan
from worker.contract.results import ArmState, EvalPoint, RunResult
from worker.contract.store import ResultsStore, RunRecords

OTHER_EXPERIMENT = "result of another experiment"
"""Why a result is not drawn that does not belong to the plan it lies beside."""

_REMEDY = "Run the arm again."


@dataclass(frozen=True, kw_only=True)
class CollectedRuns:
    """What the store holds for a plan.

    Attributes:
        runs: Proven runs by arm slug.
        failures: Why an arm lacks a run, by arm slug.
    """

    runs: Mapping[str, tuple[ArmRun, ...]]
    failures: Mapping[str, str]


def read_plan(store: ResultsStore, folder: str) -> Plan | None:
    """Return the plan of the comparison in a folder, or None if the folder has none.

    Raises:
        ResultError: It is not a plan, or the plan of a comparison of another name.
    """
    path = PurePosixPath(folder, PLAN_FILE)
    plan = store.read_record(path, Plan)
    if plan is not None and plan.comparison != folder:
        raise ResultError(
            f"{store.locate(path)} is not the plan of a comparison named {folder!r}.",
            remedy="A comparison's folder has the name of its comparison: name it so again.",
        )
    return plan


def collect_runs(store: ResultsStore, plan: Plan, data: PreparedData | None) -> CollectedRuns:
    """Read every finished run of a plan, and say of every other why it is not there.

    A result counts only if it is whole and belongs to this plan: same conditions, data and backbone, and a curve and
    predictions with the hashes that the result names. One bad run never hides the others.

    Args:
        store: The results store.
        plan: What was to be compared.
        data: The prepared data set; None leaves the data of a result unchecked.

    Raises:
        StoreError: The store does not answer.
    """
    runs: dict[str, tuple[ArmRun, ...]] = {}
    failures: dict[str, str] = {}
    for arm in plan.arms:
        found: list[ArmRun] = []
        reason_by_seed: dict[int, str] = {}
        for seed in plan.seeds:
            try:
                found.append(_read_own_run(store, plan, arm, seed, data))
            except (ResultError, StoreError) as error:
                if isinstance(error, StoreError) and error.may_pass:
                    raise  # of the whole store, not of this run
                reason_by_seed[seed] = error.problem.replace(f"{store.locate(PurePosixPath(plan.comparison))}/", "")
        runs[arm.slug] = tuple(found)
        if reason_by_seed:
            failures[arm.slug] = _join_reasons(reason_by_seed)
        elif problem := _last_failure(store, plan, arm):
            failures[arm.slug] = problem
    return CollectedRuns(runs=runs, failures=failures)


def read_run(records: RunRecords) -> ArmRun | None:
    """Return one finished run, proven whole: its files are those that its result was made of.

    Returns:
        None if it has no result.

    Raises:
        ResultError: A file is missing, torn, or not ours.
    """
    result = records.read_result()
    if result is None:
        return None
    _read_proven(records.store, records.predictions, result.predictions_sha256)
    return ArmRun(result=result, curve=_read_curve(records.store, records.curve, result))


def _read_own_run(store: ResultsStore, plan: Plan, arm: Arm, seed: int, data: PreparedData | None) -> ArmRun:
    """Return one finished run that belongs to the plan."""
    records = RunRecords(store, plan.comparison, arm.slug, seed)
    run = read_run(records)
    if run is None:
        raise ResultError(_explain_no_result(store, plan, arm), remedy=_REMEDY)
    has_other_data = data is not None and run.result.identity.data_digest != data.digest
    if has_other_data or not _belongs(run.result, plan, arm, seed) or _is_superseded(run.result, records):
        raise ResultError(OTHER_EXPERIMENT, remedy=_REMEDY)
    return run


def _belongs(result: RunResult, plan: Plan, arm: Arm, seed: int) -> bool:
    """Whether a result was made under the plan's conditions. Labels do not matter, nor does the recipe's version."""
    identity = result.identity
    return (
        result.address == identity.address
        and identity.seed == seed
        and identity.mode == arm.mode
        and identity.training == arm_training(plan.training, arm.mode)
        and identity.backbone_revision == result.backbone.revision
        and result.backbone.source == arm.backbone.source
    )


def _is_superseded(result: RunResult, records: RunRecords) -> bool:
    """Whether a later try was told to use other weights under the same name, and has not finished."""
    try:
        config = records.store.read_record(records.config, RunConfig)
    except ResultError:
        return False
    return config is not None and config.backbone.revision != result.backbone.revision


def _read_curve(store: ResultsStore, path: PurePosixPath, result: RunResult) -> tuple[EvalPoint, ...]:
    content = _read_proven(store, path, result.curve_sha256)
    try:
        curve = tuple(EvalPoint.model_validate_json(line) for line in content.splitlines())
    except ValidationError as error:
        raise ResultError(f"{store.locate(path)} is not a curve.", remedy=_REMEDY) from error
    training = result.identity.training
    steps = tuple(point.step for point in curve)
    scored = tuple(point.step for point in curve if point.validation_accuracy is not None)
    if steps != tuple(range(training.steps + 1)) or scored != training.eval_steps:
        raise ResultError(
            f"{store.locate(path)} does not hold every step from 0 to {training.steps}, once, in order and scored.",
            remedy=_REMEDY,
        )
    return curve


def _read_proven(store: ResultsStore, path: PurePosixPath, sha256: str) -> bytes:
    content = store.read(path)
    if content is None:
        raise ResultError(f"{store.locate(path)} is not there.", remedy=_REMEDY)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ResultError(f"{store.locate(path)} is not what its result.json was made of.", remedy=_REMEDY)
    return content


def _explain_no_result(store: ResultsStore, plan: Plan, arm: Arm) -> str:
    try:
        status = read_status(store, plan.comparison, arm.slug)
    except ResultError:
        return NO_RESULT
    if status is None:
        return NO_RESULT
    if status.failure is not None:
        return status.failure.problem
    if status.state is ArmState.CANCELLED or not status.state.is_final:
        return f"{NO_RESULT}, last seen {status.state}"
    return NO_RESULT


def _last_failure(store: ResultsStore, plan: Plan, arm: Arm) -> str | None:
    """Return why the last try of an arm failed, although an earlier one left a result."""
    try:
        status = read_status(store, plan.comparison, arm.slug)
    except ResultError:
        return None
    return status.failure.problem if status and status.state is ArmState.FAILED and status.failure else None


def _join_reasons(reason_by_seed: Mapping[int, str]) -> str:
    """Return the one reason, or each with its seed."""
    reasons = set(reason_by_seed.values())
    if len(reasons) == 1:
        return reasons.pop()
    return "; ".join(f"{reason.rstrip('.')} (seed {seed})" for seed, reason in reason_by_seed.items())
