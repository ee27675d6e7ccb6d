"""Backbones: folders of every family, tiny ones that are made once, and what is said of those that cannot be used.

Shapes: ``N`` texts, ``D`` hidden size.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tiny_repositories import ARCHITECTURES, make_pickle_repository, make_repository, make_sharded_repository
from worker.arm_data import load_arm_features
from worker.backbone import load_body, load_tokenizer, prepare_backbone
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import BackboneError
from worker.contract.records import canonical_json, content_hash
from worker.contract.store import write_file_atomically
from worker.data import load_split
from worker.monitor import Monitor
from worker.pretrain import pretrain_tiny
from worker.tiny import PRETRAINING, tiny_recipe

MODEL_TYPES = {"gemma3": "gemma3_text"}
"""transformers' name, where it is not the architecture's."""


@pytest.fixture
def prepare(data: PreparedData, cache: Path) -> Callable[[Path | str], PreparedBackbone]:
    """Prepare a backbone in the cache that the tests share."""

    def prepare(source: Path | str) -> PreparedBackbone:
        prepared = prepare_backbone(BackboneSpec(source=str(source)), data, cache, num_threads=1)
        assert prepared is not None
        return prepared

    return prepare


def edit_config(folder: Path, **values: Any) -> None:  # noqa: ANN401 - any JSON value
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_of_every_family_gives_features_of_its_own_tokens(
    tmp_path: Path,
    make_config: Callable[..., RunConfig],
    prepare: Callable[[Path], PreparedBackbone],
    data: PreparedData,
    cache: Path,
    architecture: str,
) -> None:
    folder = make_repository(tmp_path / architecture, architecture, dtype=torch.bfloat16)
    backbone = prepare(folder)
    config = make_config(Mode.FROZEN, backbone=backbone)
    features = load_arm_features(config, ("test",), torch.device("cpu"), Monitor(config))["test"]
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [example.text for example in load_split(cache, data, "test")[:3]]
    with torch.no_grad():
        expected_ND = torch.cat(
            [
                whole.get_decoder()(
                    **tokenizer(text, return_tensors="pt", truncation=True, max_length=48)
                ).last_hidden_state.mean(dim=1)
                for text in texts
            ]
        )

    assert (backbone.kind, backbone.source) == ("folder", str(folder))
    assert backbone.model_type == MODEL_TYPES.get(architecture, architecture)
    assert features.values_ND.shape == (40, 32)
    torch.testing.assert_close(features.values_ND[:3], expected_ND, rtol=0, atol=1e-5)


def test_a_body_is_loaded_in_fp32_in_evaluation_mode_and_without_a_language_model_head(
    backbone: PreparedBackbone, cache: Path
) -> None:
    body = load_body(cache, backbone, max_tokens=48)

    assert type(body).__name__ == "LlamaModel"
    assert not any(module.training for module in body.modules())
    assert {parameter.dtype for parameter in body.parameters()} == {torch.float32}


def test_the_revision_of_a_folder_is_that_of_the_files_that_are_loaded(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone]
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    first = prepare(folder).revision
    (folder / "README.md").write_text("It is not loaded.")
    assert prepare(folder).revision == first
    assert prepare(make_repository(tmp_path / "copy", "llama")).revision == first
    assert prepare(make_repository(tmp_path / "other", "llama", seed=1)).revision != first
    edit_config(folder, rms_norm_eps=1e-3)

    assert prepare(folder).revision != first


def test_weights_in_several_files_are_the_same_body(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path, backbone: PreparedBackbone
) -> None:
    sharded = prepare(make_sharded_repository(tmp_path / "sharded"))
    expected = load_body(cache, backbone, max_tokens=48).state_dict()
    loaded = load_body(cache, sharded, max_tokens=48).state_dict()

    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_pickle_repository, "holds no safetensors weights; pickle files are never loaded"),
        (lambda folder: folder, "There is no folder"),
        (lambda folder: (make_repository(folder, "llama") / "config.json").unlink(), "has no config.json"),
        (lambda folder: (make_repository(folder, "llama") / "config.json").write_text("{}"), "with a model_type"),
    ],
    ids=["pickle", "nothing", "no config", "no model type"],
)
def test_a_folder_that_is_no_backbone_is_refused_when_it_is_prepared(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "mine")

    with pytest.raises(BackboneError, match=said):
        prepare(tmp_path / "mine")


def test_a_checkpoint_that_lacks_a_weight_is_refused(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(BackboneError, match=r"lacks 1 weights, among them layers\.1\.mlp\.up_proj\.weight"):
        load_body(cache, prepare(folder), max_tokens=48)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"not a tensor"),
        lambda folder: edit_config(folder, hidden_size=64),
        lambda folder: edit_config(folder, model_type="of-tomorrow"),
    ],
    ids=["torn weights", "weights of another shape", "unknown architecture"],
)
def test_a_folder_that_transformers_cannot_load_is_a_backbone_error_that_names_it(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path, damage: Callable[[Path], object]
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    damage(folder)
    backbone = prepare(folder)

    with pytest.raises(BackboneError, match=f"transformers cannot load {folder}"):
        load_body(cache, backbone, max_tokens=48)


def test_a_folder_without_a_tokenizer_is_a_backbone_error_that_names_it(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()

    with pytest.raises(BackboneError, match=f"cannot load the tokenizer of {folder}"):
        load_tokenizer(cache, prepare(folder))


def test_more_tokens_than_the_model_has_positions_are_refused(backbone: PreparedBackbone, cache: Path) -> None:
    load_body(cache, backbone, max_tokens=512)

    with pytest.raises(BackboneError, match=r"reads at most 512 tokens, training\.max_tokens is 513"):
        load_body(cache, backbone, max_tokens=513)


def test_a_tiny_backbone_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: PreparedData, cache: Path
) -> None:
    def snapshot() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "backbones").rglob("*")}

    brief = partial(pretrain_tiny, recipe=PRETRAINING._replace(steps=3))
    monkeypatch.setattr("worker.pretrain.pretrain_tiny", brief)  # the real one, in a tenth of the time
    (tmp_path / "data").symlink_to(cache / "data")
    spec = BackboneSpec(source="tiny:qwen3")
    assert prepare_backbone(spec, data, tmp_path, only_look=True) is None
    first = prepare_backbone(spec, data, tmp_path, num_threads=1)
    assert first is not None
    made = snapshot()

    assert prepare_backbone(spec, data, tmp_path) == first == prepare_backbone(spec, data, tmp_path, only_look=True)
    assert snapshot() == made
    assert (first.kind, first.model_type) == ("tiny", "qwen3")
    assert {path.name for path in (tmp_path / "backbones").iterdir()} == {"requests", first.revision}
    folder = BackboneSpec(source=str(tmp_path / "backbones" / first.revision))
    assert getattr(prepare_backbone(folder, data, tmp_path), "revision", None) == first.revision
    assert type(load_body(tmp_path, first, max_tokens=4096)).__name__ == "Qwen3Model"
    assert load_tokenizer(tmp_path, first)("ab")["input_ids"][-1] == 1


def test_a_tiny_backbone_for_other_texts_is_another_one(tmp_path: Path, data: PreparedData) -> None:
    spec = BackboneSpec(source="tiny:qwen3")
    answer = PreparedBackbone(kind="tiny", source=spec.source, revision="r", model_type="qwen3")
    request = content_hash({"recipe": canonical_json(tiny_recipe("qwen3")), "data": data.digest})
    write_file_atomically(tmp_path / "backbones/requests" / f"{request}.json", answer.model_dump_json().encode())

    write_file_atomically(tmp_path / "backbones/r/config.json", b"{}")

    assert prepare_backbone(spec, data, tmp_path, only_look=True) == answer
    other = data.model_copy(update={"digest": "e" * 64})
    assert prepare_backbone(spec, other, tmp_path, only_look=True) is None
    assert prepare_backbone(BackboneSpec(source="tiny:llama"), data, tmp_path, only_look=True) is None
