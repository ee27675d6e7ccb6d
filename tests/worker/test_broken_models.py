"""Models whose JSON files are broken, or name files outside of their folder: one sentence, and never a traceback."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutations import FEW, MANY, examples, json_values, mutated_document
from tiny_repositories import make_repository, make_sharded_repository
from worker.backbone import prepare_backbone
from worker.contract.arms import BackboneSpec
from worker.contract.config import PreparedBackbone, PreparedData
from worker.contract.errors import BackboneError

INDEX = "model.safetensors.index.json"
DEEP = "[" * 100_000
JSON_FILES = ("config.json", "tokenizer_config.json", INDEX)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sharded_repository(tmp_path_factory.mktemp("broken") / "sharded")


@pytest.fixture
def prepare(data: PreparedData, cache: Path) -> Callable[[Path], PreparedBackbone | None]:
    return lambda folder: prepare_backbone(BackboneSpec(source=str(folder), allow_code=True), data, cache)


def edit(path: Path, **values: Any) -> None:  # noqa: ANN401 - any JSON value
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


@pytest.mark.parametrize("weight_map", [None, [], {}, ["a"], "a", 1, {"a": 1}, {"a": None}, {"a": ["b"]}, {"a": ""}])
def test_an_index_that_names_no_files_is_refused(
    weight_map: object, tmp_path: Path, sharded: Path, prepare: Callable[[Path], object]
) -> None:
    folder = shutil.copytree(sharded, tmp_path / "mine")
    edit(folder / INDEX, weight_map=weight_map)

    with pytest.raises(BackboneError, match=INDEX):
        prepare(folder)


@pytest.mark.parametrize("shard", [f"{place}a.safetensors" for place in ("sub/", "../", "/", "sub\\")] + [".."])
@pytest.mark.parametrize("make", [make_repository, make_sharded_repository], ids=["whole", "sharded"])
def test_a_shard_that_lies_elsewhere_is_refused_as_nothing_pins_it(
    make: Callable[[Path, str], Path], shard: str, tmp_path: Path, prepare: Callable[[Path], object]
) -> None:
    folder = make(tmp_path / "mine", "llama")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": shard}}), "utf-8")

    with pytest.raises(BackboneError, match="is no file beside config"):
        prepare(folder)


def test_weights_that_the_configuration_names_are_the_ones_that_must_be_there(
    tmp_path: Path, prepare: Callable[[Path], object]
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    (folder / "model.safetensors").rename(folder / "own.safetensors")
    with pytest.raises(BackboneError, match=r"lacks 1 of its files of weights: model\.safetensors"):
        prepare(folder)
    edit(folder / "config.json", transformers_weights="own.safetensors")
    assert prepare(folder)
    edit(folder / "config.json", transformers_weights="sub/own.safetensors")

    with pytest.raises(BackboneError, match="is no file beside config"):
        prepare(folder)


@pytest.mark.parametrize("auto_map", [True, 1, {"AutoModel": {"a": "b"}}, {"AutoModel": [["own.Own"]]}, [1.5]])
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_an_auto_map_that_names_no_classes_is_refused(
    name: str, auto_map: object, tmp_path: Path, prepare: Callable[[Path], object]
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    edit(folder / name, auto_map=auto_map)

    with pytest.raises(BackboneError, match=f"{name} has an auto_map that names no classes"):
        prepare(folder)


def test_a_configuration_of_too_many_brackets_is_refused(tmp_path: Path, prepare: Callable[[Path], object]) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    (folder / "config.json").write_text(f'{{"model_type": {DEEP}', "utf-8")

    with pytest.raises(BackboneError, match="with a model_type"):
        prepare(folder)


@pytest.fixture(scope="module")
def damaged(sharded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose weights are those of another, and whose JSON files each example writes anew."""
    folder = tmp_path_factory.mktemp("damaged")
    for path in sharded.iterdir():
        os.link(path, folder / path.name)
    for name in JSON_FILES:
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize("number", [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.full)])
def test_a_mutated_document_is_a_backbone_or_one_sentence(
    number: int, sharded: Path, damaged: Path, prepare: Callable[[Path], object]
) -> None:
    originals = {name: json.loads((sharded / name).read_text("utf-8")) for name in JSON_FILES}
    originals["config.json"] |= {"auto_map": {"AutoModel": "own.Own"}, "transformers_weights": INDEX}

    said: list[BackboneError] = []

    @examples(number)
    @given(st.data())
    def check(draw: st.DataObject) -> None:
        broken = draw.draw(st.sampled_from(JSON_FILES))
        for name, original in originals.items():
            values = json_values(st.sampled_from(["own.Own", "../x.safetensors", "\ud800", "sub/own.Own"]))
            document = draw.draw(mutated_document(original, values)) if name == broken else original
            (damaged / name).write_text(json.dumps(document), "utf-8")
        try:
            assert prepare(damaged)
        except BackboneError as error:
            said.append(error)

    check()
    assert all(error.remedy for error in said)
    assert said
