"""What a worker is told, and the address of what it makes."""

from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from worker.contract import config as contract
from worker.contract.arms import Mode
from worker.contract.config import RECIPE_VERSION, Device, PrepareConfig, RunConfig, WorkerConfig, arm_training
from worker.contract.errors import ConfigError
from worker.contract.plan import TrainingSettings
from worker.contract.records import content_hash

DATA: Mapping[str, Any] = {
    "source": "news.csv",
    "revision": "b" * 64,
    "digest": "d" * 64,
    "classes": ["no", "yes"],
    "num_examples": {"train": 8, "validation": 4, "test": 4},
    "num_train_available": 9,
    "num_duplicates_dropped": 1,
    "num_conflicts_dropped": 2,
    "majority_accuracy": 0.5,
}
RUN: Mapping[str, Any] = {
    "comparison": "trial",
    "arm": {"label": "Live base", "backbone": "acme/base", "mode": "live"},
    "seeds": [0],
    "data": DATA,
    "backbone": {"kind": "hub", "source": "acme/base", "revision": "c" * 40, "model_type": "llama"},
    "training": {"steps": 110, "head_lr": [0.01], "backbone_lr": [2e-5]},
    "execution": {"results": "out", "cache": "cache"},
}
PREPARE: Mapping[str, Any] = {
    "kind": "prepare",
    "comparison": "trial",
    "name": "prepare-data",
    "answer": "trial/data.json",
    "data": {"source": "news.csv"},
    "execution": {"results": "out", "cache": "cache"},
}


def read_run(**values: Any) -> RunConfig:  # noqa: ANN401 - fields of RunConfig
    return RunConfig.model_validate({**RUN, **values})


def change(part: str, **values: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of that part
    return {part: {**RUN[part], **values}}


def test_names_that_cross_processes_are_fixed() -> None:
    assert contract.RUN_CONFIG_ENV == "FREEZE_BENCH_CONFIG"
    assert contract.TERMINATION_LOG_ENV == "FREEZE_BENCH_TERMINATION_LOG"
    assert contract.PARENT_PIPE_ENV == "FREEZE_BENCH_PARENT_PIPE"
    assert set(get_args(Device)) == {"auto", "cpu", "cuda"}


def test_the_kind_tells_which_of_the_two_documents_it_is() -> None:
    adapter: TypeAdapter[RunConfig | PrepareConfig] = TypeAdapter(WorkerConfig)

    assert isinstance(adapter.validate_python({**RUN, "kind": "run"}), RunConfig)
    assert isinstance(adapter.validate_python(PREPARE), PrepareConfig)
    with pytest.raises(ValidationError, match="'run', 'prepare'"):
        adapter.validate_python({**RUN, "kind": "score"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (change("training", backbone_lr=[]), "a live arm needs at least one"),
        (change("arm", mode="frozen"), "a frozen arm has none"),
        ({"comparison": "Trial 1"}, "should match pattern"),
        ({"seeds": []}, "at least 1 item"),
        ({"schema_version": 2}, "Input should be 1"),
        (change("data", digest="d" * 63), "should match pattern"),
        (change("data", classes=["only"]), "at least 2 items"),
        (change("execution", metrics_port=65_536), "less than or equal to 65535"),
        (change("execution", device="mps"), "'auto', 'cpu' or 'cuda'"),
    ],
)
def test_a_document_that_cannot_be_done_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        read_run(**values)


def test_a_backbone_is_prepared_after_its_data() -> None:
    with pytest.raises(ValidationError, match="prepared_data is missing"):
        PrepareConfig.model_validate({**PREPARE, "backbone": {"source": "tiny:qwen3"}})


def test_the_conditions_of_a_frozen_arm_have_no_backbone_learning_rate() -> None:
    training = TrainingSettings(backbone_lr=(1e-5, 3e-5))

    assert arm_training(training, Mode.LIVE) == training
    assert arm_training(training, Mode.FROZEN) == training.model_copy(update={"backbone_lr": ()})
    with pytest.raises(ConfigError, match="no backbone_lr"):
        arm_training(TrainingSettings(backbone_lr=()), Mode.LIVE)


@pytest.mark.parametrize(
    "values",
    [
        change("arm", label="Another name"),
        {"comparison": "another"},
        {"seeds": [0, 1, 2]},
        change("execution", results="s3://elsewhere/out", cache="/other", device="cuda", num_threads=7),
        change("execution", use_feature_cache=False, tokens_per_batch=64, flush_seconds=9),
        change("data", source="/moved/news.csv", majority_accuracy=0.25),
        change("backbone", source="acme/renamed"),
    ],
    ids=lambda values: next(iter(values)),
)
def test_the_same_experiment_has_the_same_address_wherever_it_runs(values: dict[str, Any]) -> None:
    assert read_run(**values).identity(0).address == read_run().identity(0).address


@pytest.mark.parametrize(
    "values",
    [
        change("data", digest="e" * 64),
        change("backbone", revision="f" * 40),
        {**change("arm", mode="frozen"), **change("training", backbone_lr=[])},
        *(
            change("training", **{name: value})
            for name, value in {
                "steps": 111,
                "batch_size": 33,
                "eval_every": 2,
                "max_tokens": 64,
                "head_lr": [0.02],
                "backbone_lr": [3e-5],
                "schedule": "linear",
                "warmup_steps": 4,
                "final_lr_ratio": 0.2,
                "weight_decay": 0.0,
                "max_grad_norm": 2.0,
            }.items()
        ),
    ],
    ids=lambda values: str(list(values.values())[-1])[-30:],
)
def test_another_experiment_has_another_address(values: dict[str, Any]) -> None:
    assert read_run(**values).identity(0).address != read_run().identity(0).address


def test_every_seed_and_every_recipe_has_its_own_address() -> None:
    identity = read_run().identity(0)

    assert identity.address != read_run().identity(1).address
    assert identity.address != identity.model_copy(update={"recipe_version": RECIPE_VERSION + 1}).address


def test_the_form_that_is_hashed_is_fixed() -> None:
    identity = read_run().identity(0)
    document = {
        "recipe_version": 3,
        "mode": "live",
        "backbone_revision": "c" * 40,
        "data_digest": "d" * 64,
        "training": {
            "steps": 110,
            "batch_size": 32,
            "eval_every": 1,
            "max_tokens": 128,
            "head_lr": [0.01],
            "backbone_lr": [2e-5],
            "schedule": "cosine",
            "warmup_steps": 5,
            "final_lr_ratio": 0.1,
            "weight_decay": 0.01,
            "max_grad_norm": 1.0,
        },
        "seed": 0,
    }

    assert identity.model_dump(mode="json") == document
    assert identity.address == content_hash(document)
    assert identity.address == "5f8d8fe27699f1c77ea14c58bbfeae0c6570b714a0365fb8be0b6cb0a88347e1"


@given(
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True),
    head_lr=st.lists(st.floats(min_value=0, max_value=10, exclude_min=True), min_size=1, max_size=3),
    classes=st.lists(st.text(), min_size=2, max_size=5),
    accuracy=st.floats(0, 1),
    results=st.text(min_size=1),
    flush_seconds=st.floats(min_value=0, allow_infinity=False),
    port=st.none() | st.integers(0, 65_535),
)
@settings(deadline=None, max_examples=60)
def test_a_run_config_is_read_back_from_its_own_document(**drawn: Any) -> None:  # noqa: ANN401 - as given above
    config = read_run(
        seeds=drawn["seeds"],
        **change("data", classes=drawn["classes"], majority_accuracy=drawn["accuracy"]),
        **change("training", head_lr=drawn["head_lr"]),
        **change(
            "execution",
            results=drawn["results"],
            flush_seconds=drawn["flush_seconds"],
            metrics_port=drawn["port"],
        ),
    )
    read_back = RunConfig.model_validate_json(config.model_dump_json())

    assert read_back == config
    assert read_back.identity(0).address == config.identity(0).address
