"""Backbones: folders of every family, tiny ones that are made once, and what is said of those that cannot be used.

Shapes: ``N`` texts, ``D`` hidden size.
"""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tiny_architectures import make_model
from tiny_repositories import ARCHITECTURES, make_pickle_repository, make_repository, make_sharded_repository
from worker.arm_data import load_arm_features, load_arm_tokens
from worker.backbone import load_body, load_tokenizer, prepare_backbone
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import BackboneError
from worker.contract.local_files import write_file_atomically
from worker.contract.records import canonical_json, content_hash
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


@pytest.mark.parametrize("name", ["bert", "roberta", "mpnet", "t5", "gpt2", "modernbert"])
def test_a_folder_without_a_tokenizer_is_a_backbone_error_that_names_it(
    name: str, tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = make_model(tmp_path / "mine", name)
    (folder / "tokenizer.json").unlink()

    with pytest.raises(BackboneError, match=f"cannot load the tokenizer of {folder}"):
        load_tokenizer(cache, prepare(folder))
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(BackboneError, match=f"cannot load the tokenizer of {folder}"):
        load_tokenizer(cache, prepare(folder))


def test_a_torn_tokenizer_is_a_backbone_error_that_names_it(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes()[:1000])

    with pytest.raises(BackboneError, match=f"cannot load the tokenizer of {folder}"):
        load_tokenizer(cache, prepare(folder))


def test_a_tokenizer_that_has_more_tokens_than_the_backbone_is_refused_only_if_they_occur(
    tmp_path: Path,
    make_config: Callable[..., RunConfig],
    prepare: Callable[[Path], PreparedBackbone],
    data: PreparedData,
    cache: Path,
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<never{number}>" for number in range(100)])
    tokenizer.save_pretrained(folder)
    assert len(load_arm_tokens(make_config(Mode.LIVE, backbone=prepare(folder)), "test")) == 40
    word = load_split(cache, data, "test")[0].text.split()[0]
    tokenizer.add_tokens([word])
    tokenizer.save_pretrained(folder)

    with pytest.raises(BackboneError, match=r"gives the token 5\d\d, its embedding ends at 511"):
        load_arm_tokens(make_config(Mode.LIVE, backbone=prepare(folder)), "test")


def test_a_shard_that_is_missing_is_named(tmp_path: Path, prepare: Callable[[Path], PreparedBackbone]) -> None:
    folder = make_sharded_repository(tmp_path / "sharded")
    shards = sorted(folder.glob("model-*.safetensors"))
    whole = prepare(folder).revision
    shards[-1].rename(tmp_path / "away")

    with pytest.raises(BackboneError, match=f"lacks 1 of its files of weights: {shards[-1].name}"):
        prepare(folder)
    (tmp_path / "away").rename(shards[-1])
    assert prepare(folder).revision == whole
    shards[-1].write_bytes(shards[-1].read_bytes()[:-1] + b"x")
    assert prepare(folder).revision != whole


def test_pickled_weights_beside_safetensors_are_not_looked_at(
    tmp_path: Path, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    revision = prepare(folder).revision
    for name in ("pytorch_model.bin", "model.pt"):
        (folder / name).write_bytes(b"c__builtin__\nexit\n(tR.")

    assert prepare(folder).revision == revision
    assert type(load_body(cache, prepare(folder), 48)).__name__ == "LlamaModel"


@pytest.mark.parametrize(
    ("spoil", "said", "remedy"),
    [
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "is an adapter", "merge_and_unload"),
        (
            lambda folder: edit_config(folder, quantization_config={"quant_method": "gptq"}),
            r"is quantised \(gptq\)",
            "made from",
        ),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "tiny.Q8_0.gguf"),
            "holds no safetensors",
            "mine/tiny.Q8_0.gguf'",
        ),
        (lambda folder: (folder / "config.json").write_text("[1]"), "with a model_type", "save_pretrained"),
    ],
    ids=["adapter", "quantised", "gguf", "no object"],
)
def test_a_folder_of_another_kind_is_refused_with_what_to_do(
    spoil: Callable[[Path], object],
    said: str,
    remedy: str,
    tmp_path: Path,
    prepare: Callable[[Path], PreparedBackbone],
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    spoil(folder)

    with pytest.raises(BackboneError, match=said) as caught:
        prepare(folder)
    assert remedy in caught.value.remedy


def test_an_arm_whose_backbone_cannot_be_used_ends_with_code_42_and_no_traceback(
    tmp_path: Path,
    make_config: Callable[..., RunConfig],
    prepare: Callable[[Path], PreparedBackbone],
    start_worker: Callable[..., subprocess.Popen[bytes]],
    events_of: Callable[..., list[dict[str, Any]]],
) -> None:
    folder = make_repository(tmp_path / "mine", "llama")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    worker = start_worker(make_config(Mode.FROZEN, backbone=prepare(folder)))

    assert worker.wait() == 42
    last = events_of()[-1]
    assert last["problem"].startswith(f"transformers cannot load {folder}: ")
    assert "whole safetensors" in last["remedy"]
    assert "exception" not in last


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
    write_file_atomically(tmp_path / "backbones/r/model.safetensors", b"")

    assert prepare_backbone(spec, data, tmp_path, only_look=True) == answer
    other = data.model_copy(update={"digest": "e" * 64})
    assert prepare_backbone(spec, other, tmp_path, only_look=True) is None
    assert prepare_backbone(BackboneSpec(source="tiny:llama"), data, tmp_path, only_look=True) is None
