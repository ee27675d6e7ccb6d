"""Plans: whatever is put into a plan file, out comes the plan that stands there, or one error that a person can use."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.plan_file import load_plan
from mutations import FEW, MANY, examples, json_values, mutated_bytes, mutated_document
from worker.contract.errors import ConfigError
from worker.contract.plan import Plan
from worker.contract.records import slug

DEMO = Path(__file__).parents[2] / "plans" / "demo.toml"

few_or_many = pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.full)])

labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(lambda text: f"a{text}")
rates = st.floats(1e-12, 10, allow_subnormal=False)
backbones = st.sampled_from(["tiny:qwen3", "tiny:gemma3", "acme/base", "acme/base-2.5_B"])


@st.composite
def plan_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a plan as a person may write it: some settings given, others left to their defaults."""
    steps = draw(st.integers(1, 100_000))
    training = {
        "steps": st.just(steps),
        "batch_size": st.integers(1, 65_536),
        "eval_every": st.integers(1, steps),
        "warmup_steps": st.integers(0, steps),
        "max_tokens": st.integers(4, 131_072),
        "head_lr": rates | st.lists(rates, min_size=1, max_size=3),
        "backbone_lr": rates | st.lists(rates, min_size=1, max_size=3),
        "schedule": st.sampled_from(["cosine", "linear", "constant"]),
        "final_lr_ratio": st.floats(0, 1),
        "weight_decay": st.floats(0, 1),
    }
    required = {key: training.pop(key) for key in ("steps", "eval_every", "warmup_steps")}
    data = {"train_examples": st.integers(2, 10**9), "split_seed": st.integers(0, 2**31 - 1)}
    sources = draw(
        st.sampled_from([{"source": "builtin:language-names"}, {"source": "acme/news", "text_column": "é\n"}])
    )
    arms = draw(st.lists(labels, min_size=1, max_size=4, unique_by=slug))
    return {
        "name": draw(labels),
        "seeds": draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3, unique=True)),
        "data": {**sources, **draw(st.fixed_dictionaries({}, optional=data))},
        "training": draw(st.fixed_dictionaries(required, optional=training)),
        "arms": [
            {"label": label, "backbone": draw(backbones), "mode": draw(st.sampled_from(["live", "frozen"]))}
            for label in arms
        ],
    }


def to_toml(value: Any) -> str:  # noqa: ANN401 - any value that TOML has
    """Write a value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_toml(str(key))} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).lower() if isinstance(value, bool | float) else str(value)


def write_plan(path: Path, document: dict[str, Any]) -> None:
    path.write_text("".join(f"{to_toml(key)} = {to_toml(value)}\n" for key, value in document.items()), "utf-8")


def load(path: Path, *overrides: str) -> Plan | ConfigError:
    """Load a plan; an error must say something and how to go on."""
    try:
        return load_plan(path, overrides)
    except ConfigError as error:
        if not error.problem or not error.remedy:
            pytest.fail(f"an error without words: {error!r}")
        return error


@few_or_many
def test_a_plan_is_read_from_its_file_as_it_was_written(tmp_path: Path, number: int) -> None:
    @given(plan_documents())
    @examples(number)
    def check(document: dict[str, Any]) -> None:
        plan = Plan.model_validate(document)
        write_plan(tmp_path / "plan.toml", document)
        assert load_plan(tmp_path / "plan.toml") == plan

        write_plan(tmp_path / "whole.toml", plan.model_dump(mode="json", exclude_none=True))
        assert load_plan(tmp_path / "whole.toml") == plan
        assert Plan.model_validate_json(plan.model_dump_json()) == plan

    check()


@few_or_many
def test_a_plan_with_other_values_is_a_plan_or_an_error_that_explains_it(tmp_path: Path, number: int) -> None:
    values = json_values(st.dates(), st.times(), st.datetimes())

    @given(plan_documents().flatmap(lambda document: mutated_document(document, values)))
    @examples(number)
    def check(document: dict[str, Any]) -> None:
        write_plan(tmp_path / "plan.toml", document)
        load(tmp_path / "plan.toml")

    check()


@few_or_many
def test_a_plan_file_of_changed_bytes_is_a_plan_or_an_error_that_explains_it(tmp_path: Path, number: int) -> None:
    @given(mutated_bytes(DEMO.read_bytes()) | st.binary() | st.text().map(str.encode))
    @examples(number)
    def check(content: bytes) -> None:
        (tmp_path / "plan.toml").write_bytes(content)
        load(tmp_path / "plan.toml")

    check()


@few_or_many
def test_any_override_gives_a_plan_or_an_error_that_explains_it(tmp_path: Path, number: int) -> None:
    write_plan(tmp_path / "plan.toml", {"name": "a", "data": {"source": "acme/news"}, "arms": []})
    keys = st.sampled_from(["name", "data", "data.source", "training.steps", "arms", "arms.0", "seeds", "a..b", " "])

    @given(st.tuples(keys, json_values().map(to_toml) | st.text()).map("=".join) | st.text())
    @examples(number)
    def check(override: str) -> None:
        load(tmp_path / "plan.toml", override)

    check()


def test_a_byte_order_mark_is_no_part_of_a_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_bytes(b"\xef\xbb\xbf" + DEMO.read_bytes().replace(b"\n", b"\r\n"))

    assert load_plan(tmp_path / "plan.toml") == load_plan(DEMO)


def in_paths(text: str) -> bytes:
    """Return a plan whose data file and backbone folder have a text in their paths."""
    plan = f'name = "a"\n[data]\nsource = "{text}a.csv"\n[[arms]]\nbackbone = "~{text}b"\nmode = "frozen"\n'
    return plan.encode()


AWKWARD: dict[str, bytes] = {
    "nested without end": b"a = " + b"[" * 100_000,
    "tables in tables": b"a" + b".a" * 2_000 + b" = 1",
    "a number of many digits": b"seeds = [" + b"9" * 5_000 + b"]",
    "paths with a zero byte": in_paths("\\u0000"),
    "a home of nobody": in_paths("~nobody-here/"),
    "names too long for a file": in_paths("x" * 5_000),
    "UTF-16": "name = 'a'".encode("utf-16"),
    "no end": b"name = 'a'" * 2**18,
}


@pytest.mark.parametrize("case", AWKWARD)
def test_an_awkward_plan_is_an_error_that_explains_it(tmp_path: Path, case: str) -> None:
    (tmp_path / "plan.toml").write_bytes(AWKWARD[case])

    assert isinstance(load(tmp_path / "plan.toml"), ConfigError)
