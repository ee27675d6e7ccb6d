"""What a person may write as a plan."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.contract.plan import Plan, Schedule, TrainingSettings

ARM = {"backbone": "acme/base", "mode": "live"}


def read_plan(**values: Any) -> Plan:  # noqa: ANN401 - fields of Plan
    return Plan.model_validate({"name": "Trial", "data": {"source": "news.csv"}, "arms": [ARM], **values})


def test_the_names_of_schedules_are_fixed() -> None:
    assert set(get_args(Schedule)) == {"cosine", "linear", "constant"}


def test_the_comparison_is_named_after_the_plan() -> None:
    assert read_plan(name="AG News, first try!").comparison == "ag-news-first-try"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"arms": [{**ARM, "label": "Live A"}, {**ARM, "label": "live-a"}]}, "'Live A' and 'live-a'.*'live-a'"),
        ({"seeds": [1, 2, 1]}, "holds a seed twice"),
        ({"seeds": []}, "at least 1 item"),
        ({"seeds": [-1]}, "greater than or equal to 0"),
        ({"arms": []}, "at least 1 item"),
        ({"arms": [{"backbone": "tiny:gpt2", "mode": "live"}]}, "unknown tiny architecture"),
        ({"arms": [{"backbone": "tiny:qwen3", "revision": "main", "mode": "live"}]}, "only hub ids have revisions"),
        ({"arms": [{"backbone": "acme/base", "mode": "lora"}]}, "'frozen' or 'live'"),
        ({"name": "\N{SNOWMAN}"}, "no letter a-z or digit"),
        ({"training": {"backbone_lr": []}}, "a live arm trains its backbone"),
        ({"training": {"head_lr": []}}, "at least 1 item"),
        ({"training": {"head_lr": [0.01, 0]}}, "greater than 0"),
        ({"training": {"head_lr": True}}, "valid tuple"),
        ({"training": {"steps": 4, "warmup_steps": 5}}, "warmup_steps 5 is more than steps 4"),
        ({"training": {"steps": 5, "eval_every": 6}}, "eval_every 6 is more than steps 5"),
        ({"training": {"step": 5}}, "Extra inputs are not permitted"),
        ({"trainings": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        read_plan(**values)


def test_a_frozen_arm_needs_no_backbone_learning_rate() -> None:
    plan = read_plan(arms=[{**ARM, "mode": "frozen"}], training={"backbone_lr": []})

    assert plan.training.backbone_lr == ()


def test_one_learning_rate_is_a_list_of_one() -> None:
    plan = read_plan(training={"head_lr": 0.1, "backbone_lr": [1e-5, 3e-5]})

    assert (plan.training.head_lr, plan.training.backbone_lr) == ((0.1,), (1e-5, 3e-5))


@pytest.mark.parametrize(
    ("steps", "eval_every", "expected"),
    [(3, 1, (0, 1, 2, 3)), (6, 3, (0, 3, 6)), (7, 3, (0, 3, 6, 7)), (5, 5, (0, 5))],
)
def test_validation_is_scored_at_0_every_so_often_and_at_the_last_step(
    steps: int, eval_every: int, expected: tuple[int, ...]
) -> None:
    training = TrainingSettings(steps=steps, eval_every=eval_every, warmup_steps=0)

    assert training.eval_steps == expected
    assert tuple(step for step in range(steps + 1) if training.is_eval_step(step)) == expected


SOURCES = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,20})?", fullmatch=True),
    st.sampled_from(["tiny:qwen3", "tiny:gemma3", "./mine", "~/models/mine", "/models/Qwen3"]),
)
DATA = st.fixed_dictionaries(
    {"source": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}(/[A-Za-z0-9][A-Za-z0-9_-]{0,20})?", fullmatch=True)},
    optional={
        "subset": st.none() | st.text(),
        "split_column": st.none() | st.text(min_size=1).filter(lambda name: name not in {"text", "label"}),
    },
) | st.fixed_dictionaries(
    {
        "source": st.sampled_from(
            ["news.csv", "~/a b/news.TSV.gz", "s3://bucket/news.parquet", "https://host/n.jsonl?v=1"]
        )
    },
    optional={"validation_source": st.sampled_from([None, "dev.csv"]), "test_source": st.just("memory://test.parquet")},
)
LEARNING_RATES = st.lists(st.floats(min_value=1e-9, max_value=10), min_size=1, max_size=3)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a plan as a file would say it."""
    steps = draw(st.integers(1, 100_000))
    return {
        "name": f"n{draw(st.text(max_size=59))}",
        "seeds": draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4, unique=True)),
        "data": draw(DATA),
        "training": {
            "steps": steps,
            "eval_every": draw(st.integers(1, steps)),
            "warmup_steps": draw(st.integers(0, steps)),
            "head_lr": draw(LEARNING_RATES),
            "backbone_lr": draw(LEARNING_RATES),
            "final_lr_ratio": draw(st.floats(0, 1)),
            "max_grad_norm": draw(st.floats(min_value=0, exclude_min=True, allow_infinity=False)),
        },
        "arms": [
            {"label": f"{index} {text}", "backbone": draw(SOURCES), "mode": draw(st.sampled_from(["frozen", "live"]))}
            for index, text in enumerate(draw(st.lists(st.text(max_size=50), min_size=1, max_size=4)))
        ],
    }


@given(plans())
@settings(deadline=None, max_examples=60)
def test_a_plan_is_read_back_from_its_own_document(document: dict[str, Any]) -> None:
    plan = Plan.model_validate(document)

    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan
