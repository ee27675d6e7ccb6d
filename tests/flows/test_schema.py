"""The JSON schema, by which editors check plan files: as strict as the plan itself, and no stricter."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no type information
import pytest
from typer.testing import CliRunner

from flows.cli import app

ROOT = Path(__file__).parents[2]


def read_plans() -> dict[str, dict[str, Any]]:
    """Return every plan that we ship, and the one that the README shows."""
    texts = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "plans").glob("*.toml"))}
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    texts |= {f"README, block {number}": block for number, block in enumerate(blocks) if "[[arms]]" in block}
    return {name: tomllib.loads(text) for name, text in texts.items()}


PLANS = read_plans()


@pytest.fixture(scope="module")
def validator() -> Any:  # noqa: ANN401 - without types
    printed = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    form = jsonschema.validators.validator_for(printed, default=jsonschema.Draft202012Validator)
    form.check_schema(printed)
    return form(printed)


def test_there_are_plans_to_check() -> None:
    assert {"demo.toml", "seed.toml", "README, block 0"} <= set(PLANS)


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_that_we_show_is_valid(validator: Any, name: str) -> None:  # noqa: ANN401
    assert [error.message for error in validator.iter_errors(PLANS[name])] == []


@pytest.mark.parametrize("table", ["", "data", "training", "arms"])
def test_an_unknown_key_is_refused(validator: Any, table: str) -> None:  # noqa: ANN401
    plan = json.loads(json.dumps(PLANS["demo.toml"]))
    place = plan["arms"][0] if table == "arms" else plan[table] if table else plan
    place["zebra"] = 1

    (error,) = validator.iter_errors(plan)

    assert "'zebra' was unexpected" in error.message
    assert list(error.absolute_path) == {"": [], "arms": ["arms", 0]}.get(table, [table])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), 7),
        (("seeds",), "0, 1"),
        (("seeds", 0), "0"),
        (("seeds", 0), -1),
        (("data", "source"), ["news.csv"]),
        (("data", "train_examples"), "many"),
        (("training", "steps"), "16"),
        (("training", "steps"), True),
        (("training", "steps"), 0),
        (("training", "head_lr"), "high"),
        (("training", "head_lr"), []),
        (("training", "backbone_lr"), 0),
        (("training", "schedule"), "stairs"),
        (("training", "weight_decay"), "little"),
        (("arms",), []),
        (("arms", 0, "mode"), "thawed"),
        (("arms", 0, "backbone"), 7),
        (("arms", 0, "label"), 7),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else repr(value),
)
def test_a_wrong_value_is_refused_where_it_stands(
    validator: Any,  # noqa: ANN401
    path: tuple[str | int, ...],
    value: object,
) -> None:
    plan = json.loads(json.dumps(PLANS["demo.toml"]))
    plan.setdefault("training", {})
    plan.setdefault("seeds", [0])
    place: Any = plan
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    (error,) = validator.iter_errors(plan)

    assert tuple(error.absolute_path) == path


@pytest.mark.parametrize("key", ["name", "data", "arms"])
def test_a_plan_without_what_it_needs_is_refused(validator: Any, key: str) -> None:  # noqa: ANN401
    plan = {name: value for name, value in PLANS["demo.toml"].items() if name != key}

    (error,) = validator.iter_errors(plan)

    assert error.message == f"'{key}' is a required property"
