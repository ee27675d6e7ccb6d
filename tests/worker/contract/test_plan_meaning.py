"""Plans that can be read but mean nothing: settings without effect, truth values and texts as numbers, infinity."""

from typing import Any

import pytest
from pydantic import ValidationError

from worker.contract.plan import LANGUAGE_NAMES, DataSpec, Plan, TrainingSettings


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("revision", "revision 'other' has no meaning for 'builtin:language-names'"),
        ("subset", "subset 'other' has no meaning for 'builtin:language-names'"),
        ("text_column", "text_column have no meaning for 'builtin:language-names', which has neither columns"),
        ("target_column", "target_column have no meaning for 'builtin:language-names', which has neither columns"),
        ("split_column", "split_column have no meaning for 'builtin:language-names', which has neither columns"),
    ],
)
def test_the_built_in_data_set_takes_no_setting_of_other_sources(key: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DataSpec.model_validate({"source": LANGUAGE_NAMES, key: "other"})


@pytest.mark.parametrize("key", ["revision", "subset"])
@pytest.mark.parametrize("source", ["news.csv", "/data/news.jsonl"])
def test_a_file_has_neither_revision_nor_subset(source: str, key: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} 'main' has no meaning for '{source}'; only hub data sets"):
        DataSpec.model_validate({"source": source, key: "main"})


def test_settings_are_accepted_where_they_mean_something() -> None:
    hub = DataSpec(source="acme/news", revision="main", subset="en", text_column="body", target_column="topic")
    file = DataSpec(source="news.csv", text_column="body", target_column="topic")
    builtin = DataSpec(source=LANGUAGE_NAMES)

    for spec in (hub, file, builtin):
        assert DataSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("source", ["builtin:language-name", "builtin:", "builtin:news.csv"])
def test_an_unknown_built_in_data_set_is_refused_with_the_one_there_is(source: str) -> None:
    with pytest.raises(ValidationError, match=f"unknown built-in data set; there is {LANGUAGE_NAMES}"):
        DataSpec(source=source)


@pytest.mark.parametrize(
    "source", ["./news.json", "data/2024/news.txt", "/news.xlsx", "~/news", "s3://bucket/news.zip", "https://host/news"]
)
def test_a_file_of_another_form_is_refused_with_those_that_are_read(source: str) -> None:
    said = r"files are read as \.csv, \.tsv, \.jsonl \(each also as \.gz\) or \.parquet"

    with pytest.raises(ValidationError, match=rf"{source}.*{said}"):
        DataSpec(source=source)
    with pytest.raises(ValidationError, match=rf"test_source\n.*{source}.* is no file of a form that is read"):
        DataSpec(source="news.csv", test_source=source)


WHOLE_NUMBERS = {
    TrainingSettings: ("steps", "batch_size", "eval_every", "max_tokens", "warmup_steps"),
    DataSpec: ("train_examples", "validation_examples", "test_examples", "split_seed"),
}


@pytest.mark.parametrize("value", [True, "16", 16.0], ids=repr)
@pytest.mark.parametrize(("form", "key"), [(form, key) for form, keys in WHOLE_NUMBERS.items() for key in keys])
def test_a_whole_number_is_nothing_else(form: type[TrainingSettings | DataSpec], key: str, value: object) -> None:
    others: dict[str, Any] = {"source": "news.csv"} if form is DataSpec else {"steps": 16, "warmup_steps": 4}
    assert getattr(form.model_validate({**others, key: 4}), key) == 4

    with pytest.raises(ValidationError, match="valid integer") as caught:
        form.model_validate({**others, key: value})
    assert [error["loc"] for error in caught.value.errors()] == [(key,)]


@pytest.mark.parametrize("seed", [True, "1", 1.0], ids=repr)
def test_a_seed_is_a_whole_number(seed: object) -> None:
    plan = {"name": "A", "data": {"source": "news.csv"}, "arms": [{"backbone": "acme/base", "mode": "frozen"}]}
    assert Plan.model_validate({**plan, "seeds": [1]}).seeds == (1,)

    with pytest.raises(ValidationError, match="valid integer") as caught:
        Plan.model_validate({**plan, "seeds": [seed]})
    assert caught.value.errors()[0]["loc"] == ("seeds", 0)


FLOATS = sorted(name for name, field in TrainingSettings.model_fields.items() if "float" in str(field.annotation))


def test_every_setting_that_is_a_number_is_known_here() -> None:
    assert FLOATS == ["backbone_lr", "final_lr_ratio", "head_lr", "max_grad_norm", "weight_decay"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")], ids=repr)
@pytest.mark.parametrize("key", FLOATS)
def test_no_setting_is_infinite_or_undefined(key: str, value: float) -> None:
    assert getattr(TrainingSettings.model_validate({key: 0.5}), key) in {0.5, (0.5,)}

    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({key: value})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


@pytest.mark.parametrize("key", ["head_lr", "backbone_lr"])
def test_no_learning_rate_of_several_is_infinite(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingSettings.model_validate({key: [0.01, float("inf")]})
    assert [error["loc"] for error in caught.value.errors()] == [(key, 1)]
