"""Arms of a plan file: backbones on disk, and code that comes with one."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no type information
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.plan_file import load_plan
from worker.contract.arms import BackboneSpec
from worker.contract.errors import ConfigError

COMMIT = "0123456789abcdef" * 2 + "01234567"
PLAN = """
name = "A plan"
[data]
source = "builtin:language-names"
[[arms]]
mode = "frozen"
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:  # noqa: ANN401 - a function from TOML lines to a backbone
    """Read the backbone of a plan whose only arm has some more lines."""

    def load(lines: str) -> BackboneSpec:
        (tmp_path / "plan.toml").write_text(f"{PLAN}{lines}\n", "utf-8")
        return load_plan(tmp_path / "plan.toml").arms[0].backbone

    return load


@pytest.mark.parametrize("form", ['backbone = "{}"', '[arms.backbone]\nsource = "{}"'], ids=["short", "long"])
def test_a_gguf_file_is_read_from_the_plans_folder_under_its_own_name(form: str, tmp_path: Path, load: Any) -> None:  # noqa: ANN401
    # As in the hub's cache, where the name is a link to a file that is named by its hash.
    (tmp_path / "blob").write_bytes(b"GGUF")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.Q8_0.gguf").symlink_to(tmp_path / "blob")
    backbone = load(form.format("./models/../models/tiny.Q8_0.gguf"))

    assert (backbone.kind, backbone.source) == ("gguf", str(tmp_path / "models" / "tiny.Q8_0.gguf"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('backbone = "./none.gguf"', "there is no file"),
        (f'backbone = "./{"n" * 300}.gguf"', "there is no file"),
        (f'backbone = "./{"n" * 300}"', "is not a folder with a config.json"),
        ('backbone = "tiny.gguf"', "'tiny.gguf' is a file: write it with ./ or / in front"),
        ('backbone = "acme/own"\nallow_code = true', "code is run only as it was read"),
        (f'backbone = "tiny:qwen3"\nallow_code = true\nrevision = "{COMMIT}"', "has no meaning for 'tiny:qwen3'"),
        ('backbone = "acme/own"\nallow_cod = true', "arms[0].allow_cod: unknown key. Did you mean 'allow_code'?"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(lines: str, said: str, load: Any) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError) as caught:
        load(lines)
    assert said in caught.value.problem


def test_code_is_allowed_in_the_short_form_and_the_schema_says_so(load: Any) -> None:  # noqa: ANN401
    lines = f'backbone = "acme/own"\nrevision = "{COMMIT}"\nallow_code = true'
    schema = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    check = jsonschema.Draft202012Validator(schema)

    assert load(lines) == BackboneSpec(source="acme/own", revision=COMMIT, allow_code=True)
    assert check.is_valid(tomllib.loads(PLAN + lines))
    assert not check.is_valid(tomllib.loads(PLAN + lines.replace("true", '"yes"')))
