"""The prepare step: what workers answer, how their failures are told, and when a store refuses a plan."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from flows.executors import CloseReason, WorkerFailedError, WorkerOutcome, WorkerState
from flows.executors.local import LocalExecutor, open_local_executor
from flows.preparation import (
    DATA_FILE,
    PLAN_FILE,
    Asker,
    check_data,
    check_plan,
    find_backbone,
    find_data,
    prepare_backbone,
    prepare_data,
    put_first_plan,
    run_config,
)
from flows.settings import RunnerSettings
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import DataError, ExitCode, PlanConflictError
from worker.contract.plan import LANGUAGE_NAMES, DataSpec, Plan
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore, RunRecords

MakePlan = Callable[..., Plan]
SMALL_DATA = DataSpec(source=LANGUAGE_NAMES, train_examples=8, validation_examples=8, test_examples=8)


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("Frozen A", "Live B").model_copy(update={"data": SMALL_DATA})


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results"))


@pytest.fixture
def executor(tmp_path: Path) -> LocalExecutor:
    settings = RunnerSettings(results=str(tmp_path / "results"), cache=str(tmp_path / "cache"), device="cpu")
    return open_local_executor(settings, "first-try")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class OtherStoreExecutor:
    """Its workers write to another results store than the flow reads, as with a volume that is not shared."""

    def __init__(self, executor: LocalExecutor, results: Path) -> None:
        """Let the executor do the work."""
        self.execution: Execution = executor.execution
        self.memory_limit_bytes: int | None = None
        self.workers_outlive_flow = False
        self._executor = executor
        self._results = str(results)

    def run(self, config: RunConfig | PrepareConfig, on_change: Callable[[WorkerState], None]) -> WorkerOutcome:
        """Tell the worker of the other store."""
        execution = config.execution.model_copy(update={"results": self._results})
        return self._executor.run(config.model_copy(update={"execution": execution}), on_change)

    def close(self, reason: CloseReason) -> None:
        """End the workers."""
        self._executor.close(reason)


def test_a_new_comparison_is_welcome(store: ResultsStore, plan: Plan) -> None:
    check_plan(store, plan)

    assert store.read(PurePosixPath(plan.comparison, PLAN_FILE)) is None


def test_a_first_plan_is_put_down_and_an_older_one_stays(store: ResultsStore, plan: Plan, make_plan: MakePlan) -> None:
    path = PurePosixPath(plan.comparison, PLAN_FILE)
    for each in (plan, make_plan("Frozen C")):
        put_first_plan(store, each)

        assert store.read_record(path, Plan) == plan


def test_arms_and_seeds_may_change_under_one_name(store: ResultsStore, plan: Plan, make_plan: MakePlan) -> None:
    store.write_record(PurePosixPath(plan.comparison, PLAN_FILE), plan)
    other = make_plan("Frozen C", seeds=(3, 4)).model_copy(update={"data": SMALL_DATA})

    check_plan(store, other)


def put_result(store: ResultsStore, plan: Plan) -> None:
    """Make the comparison one that has results: what they are does not matter here."""
    store.write(RunRecords(store, plan.comparison, plan.arms[0].slug, plan.seeds[0]).result, b"{}")


def test_conditions_without_any_result_may_change(store: ResultsStore, plan: Plan, data: PreparedData) -> None:
    store.write_record(PurePosixPath(plan.comparison, PLAN_FILE), plan)
    check_plan(store, plan.model_copy(update={"data": SMALL_DATA.model_copy(update={"split_seed": 7})}))
    other = data.model_copy(update={"digest": "e" * 64})
    check_data(store, plan, data)
    check_data(store, plan, other)

    assert store.read_record(PurePosixPath(plan.comparison, DATA_FILE), PreparedData) == other


def test_what_all_arms_share_may_not_change_under_one_name(store: ResultsStore, plan: Plan) -> None:
    store.write_record(PurePosixPath(plan.comparison, PLAN_FILE), plan)
    put_result(store, plan)
    other = plan.model_copy(
        update={
            "data": SMALL_DATA.model_copy(update={"split_seed": 7}),
            "training": plan.training.model_copy(update={"schedule": "linear"}),
        }
    )

    with pytest.raises(PlanConflictError) as caught:
        check_plan(store, other)

    differing = "data.split_seed is 7, was 0; training.schedule is 'linear', was 'cosine'"
    assert caught.value.problem == f"The comparison 'first-try' exists with other conditions: {differing}."
    assert caught.value.remedy == f"Give the plan another name, or move {store.url}/first-try away."


def test_the_first_data_set_of_a_comparison_is_the_only_one(
    store: ResultsStore, plan: Plan, data: PreparedData
) -> None:
    path = PurePosixPath(plan.comparison, DATA_FILE)
    other = data.model_copy(update={"digest": "e" * 64})

    check_data(store, plan, data)
    check_data(store, plan, data)
    put_result(store, plan)
    with pytest.raises(PlanConflictError, match="the content of builtin:language-names has changed"):
        check_data(store, plan, other)

    assert store.read_record(path, PreparedData) == data


def test_data_that_is_not_in_the_cache_is_found_only_after_it_was_prepared(
    executor: LocalExecutor, plan: Plan, tmp_path: Path
) -> None:
    assert find_data(Asker(executor, plan)) is None
    assert not (tmp_path / "cache" / "data").exists()

    prepared = prepare_data(Asker(executor, plan))

    assert prepared.num_examples.train == 8
    assert find_data(Asker(executor, plan)) == prepared
    assert files(tmp_path / "results") == []  # answers are read and taken away
    spec = BackboneSpec(source="tiny:llama")
    assert find_backbone(Asker(executor, plan), spec, prepared) is None
    assert not (tmp_path / "cache" / "backbones").exists()


@pytest.mark.parametrize(("limit", "modes"), [(None, None), (2**30, {Mode.FROZEN, Mode.LIVE})])
def test_what_arms_need_is_asked_only_where_they_are_held_to_a_limit(
    executor: LocalExecutor, plan: Plan, tmp_path: Path, limit: int | None, modes: set[Mode] | None
) -> None:
    from tiny_repositories import make_repository  # noqa: PLC0415 - loads transformers

    spec = BackboneSpec(source=str(make_repository(tmp_path / "llama", "llama")))
    arms = tuple(arm.model_copy(update={"backbone": spec}) for arm in plan.arms)
    asker = Asker(executor, plan.model_copy(update={"arms": arms}))
    data = prepare_data(asker)
    executor.memory_limit_bytes = limit

    ready = prepare_backbone(asker, spec, data)

    assert ready.backbone.model_type == "llama"
    assert (ready.estimates and {arm.mode for arm in ready.estimates.arms}) == modes
    assert files(tmp_path / "results") == []


def test_data_that_cannot_be_used_is_the_plans_fault(executor: LocalExecutor, plan: Plan, tmp_path: Path) -> None:
    absent = plan.model_copy(update={"data": DataSpec(source=str(tmp_path / "absent.csv"))})

    with pytest.raises(DataError) as caught:
        prepare_data(Asker(executor, absent))

    assert caught.value.problem.endswith("absent.csv cannot be read: No such file or directory.")
    assert caught.value.remedy == "Check the path."


def test_a_backbone_that_cannot_be_used_is_the_workers_failure(
    executor: LocalExecutor, plan: Plan, data: PreparedData, tmp_path: Path
) -> None:
    started: list[ArmState] = []
    asker = Asker(executor, plan, lambda state: started.append(state.state))

    with pytest.raises(WorkerFailedError) as caught:
        prepare_backbone(asker, BackboneSpec(source=str(tmp_path / "absent")), data)

    assert caught.value.failure.exit_code == ExitCode.BACKBONE
    assert f"There is no folder {tmp_path}/absent. Name a folder that save_pretrained" in str(caught.value)
    assert started == [ArmState.RUNNING]


def test_an_answer_that_cannot_be_written_is_no_fault_of_the_plan(
    executor: LocalExecutor, plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "results").write_bytes(b"a file where a folder should be")

    with pytest.raises(WorkerFailedError) as caught:
        prepare_data(Asker(executor, plan))

    assert caught.value.failure.exit_code == ExitCode.ERROR


def test_an_answer_in_another_store_is_missed(executor: LocalExecutor, plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(WorkerFailedError, match="left no answer in") as caught:
        prepare_data(Asker(OtherStoreExecutor(executor, tmp_path / "elsewhere"), plan))

    assert caught.value.failure.remedy == "Make sure that workers see the same results store as the flow."
    assert len(files(tmp_path / "elsewhere")) == 1


@pytest.mark.parametrize(("mode", "backbone_lr"), [(Mode.FROZEN, ()), (Mode.LIVE, (2e-5,))])
def test_an_arm_is_told_everything_and_only_what_concerns_it(
    plan: Plan, data: PreparedData, mode: Mode, backbone_lr: tuple[float, ...]
) -> None:
    arm = Arm(label="One", backbone=BackboneSpec(source="acme/base"), mode=mode)
    backbone = PreparedBackbone(kind="hub", source="acme/base", revision="c" * 40, model_type="llama")
    execution = Execution(results="out", cache="cache")

    config = run_config(plan, arm, data, backbone, execution)

    assert config.training.backbone_lr == backbone_lr
    assert (config.seeds, config.data, config.backbone, config.execution) == (plan.seeds, data, backbone, execution)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
