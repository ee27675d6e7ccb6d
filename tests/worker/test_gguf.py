"""GGUF files: the same body and the same tokens as the model they were made of, or one sentence on what is wrong."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from torch import nn

from synthetic_news import synthetic_news
from tiny_gguf import make_gguf
from tiny_repositories import make_repository
from tiny_tokenizers import make_tokenizer
from worker.backbone import load_body, load_tokenizer, prepare_backbone
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PrepareConfig, PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import BackboneError, SourceChangedError
from worker.contract.plan import DataSpec
from worker.contract.store import RunRecords
from worker.gguf_files import GgufFacts, read_gguf

Prepare = Callable[[Path], PreparedBackbone]
TEXTS = [
    *synthetic_news(20, seed=3)[0],
    "\u00dcn\u00efcode 2024, \u05e9\u05dc\u05d5\u05dd \U0001f642\0",
    " two  \n\n x",
]
BLOCK = 32
"""Weights that share a scale, in the quantisations tested here."""

REL_ERROR = {"F16": 2**-11, "Q8_0": 0.57 / 127, "Q4_0": 1.01 / 8}
"""Largest error over the largest weight of a block: half a step, or for Q4_0 a whole one at one end, and a little for
the step's own rounding to half precision."""


@pytest.fixture
def prepare(data: PreparedData, cache: Path) -> Prepare:
    def prepare(source: Path) -> PreparedBackbone:
        prepared = prepare_backbone(BackboneSpec(source=str(source)), data, cache)
        assert prepared is not None
        return prepared

    return prepare


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same llama with each kind of tokenizer that a llama has in a GGUF file; not to be changed."""
    root = tmp_path_factory.mktemp("llamas")
    made = {name: make_repository(root / name, "llama") for name in ("gpt2", "llama")}
    make_tokenizer("mistral").save_pretrained(made["llama"])
    return made


def hidden(body: nn.Module, num_tokens: int = 20) -> torch.Tensor:
    with torch.inference_mode():
        state: torch.Tensor = body(torch.arange(5, 5 + num_tokens).unsqueeze(0)).last_hidden_state
    return state


@pytest.mark.parametrize("tokenizer", ["gpt2", "llama"])
def test_an_unquantised_file_is_the_model_that_it_was_made_of(
    tokenizer: str, tmp_path: Path, folders: dict[str, Path], prepare: Prepare, cache: Path
) -> None:
    of_file = prepare(make_gguf(tmp_path / "tiny.gguf", folders[tokenizer]))
    of_folder = prepare(folders[tokenizer])
    texts = [load_tokenizer(cache, backbone)(TEXTS)["input_ids"] for backbone in (of_file, of_folder)]

    assert (of_file.kind, of_file.model_type) == ("gguf", "llama")
    assert texts[0] == texts[1]
    assert torch.equal(hidden(load_body(cache, of_file, 48)), hidden(load_body(cache, of_folder, 48)))


@pytest.mark.parametrize("storage", ["F16", "Q8_0", "Q4_0"])
def test_a_quantised_files_weights_are_within_the_error_of_its_quantisation(
    storage: str, tmp_path: Path, folders: dict[str, Path], prepare: Prepare, cache: Path
) -> None:
    path = make_gguf(tmp_path / "tiny.gguf", folders["gpt2"], storage=GGMLQuantizationType[storage])
    body = load_body(cache, prepare(path), 48)
    original = dict(load_body(cache, prepare(folders["gpt2"]), 48).named_parameters())

    assert {parameter.dtype for parameter in body.parameters()} == {torch.float32}
    assert {name for name, _ in body.named_parameters()} == set(original)
    for name, parameter in body.named_parameters():
        expected = original[name].detach().view(-1, BLOCK)
        error = (parameter.detach().view(-1, BLOCK) - expected).abs().amax(dim=1)
        assert (error <= REL_ERROR[storage] * expected.abs().amax(dim=1)).all()
        assert (error > 0).any() or parameter.ndim == 1


def test_a_file_is_read_once_whatever_it_is_called(
    tmp_path: Path, folders: dict[str, Path], data: PreparedData, cache: Path, prepare: Prepare
) -> None:
    path = make_gguf(tmp_path / "mine.v2.Q8_0.gguf", folders["gpt2"], general__name="once")
    spec = BackboneSpec(source=str(path))
    assert prepare_backbone(spec, data, cache, only_look=True) is None
    first = prepare(path)
    made = {file: file.stat().st_mtime_ns for file in (cache / "backbones").rglob("*")}
    again = prepare(path.rename(tmp_path / "renamed.gguf"))

    assert {file: file.stat().st_mtime_ns for file in (cache / "backbones").rglob("*")} == made
    assert again == first.model_copy(update={"source": str(tmp_path / "renamed.gguf")})
    assert prepare(make_gguf(tmp_path / "other.gguf", folders["gpt2"], general__name="other")) != again
    (tmp_path / "renamed.gguf").unlink()
    assert hidden(load_body(cache, again, 48)).isfinite().all()


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_a_made_folder_that_lost_a_part_is_made_again(
    lost: str, tmp_path: Path, folders: dict[str, Path], data: PreparedData
) -> None:
    spec = BackboneSpec(source=str(make_gguf(tmp_path / "tiny.gguf", folders["gpt2"])))
    first = prepare_backbone(spec, data, tmp_path)
    path = next((tmp_path / "backbones").glob(f"*/{lost}"))
    content = path.read_bytes()
    path.unlink()

    assert prepare_backbone(spec, data, tmp_path, only_look=True) is None
    assert prepare_backbone(spec, data, tmp_path) == first
    assert path.read_bytes() == content


def test_what_lies_beside_a_file_is_neither_read_nor_run(
    tmp_path: Path, folders: dict[str, Path], prepare: Prepare, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for leave to run code"))
    path = make_gguf(tmp_path / "tiny.gguf", folders["gpt2"], general__name="beside")
    beside = {"tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["own.Own", None]}}, "config.json": {}}
    for name, document in beside.items():
        (tmp_path / name).write_text(json.dumps(document), "utf-8")
    (tmp_path / "own.py").write_text("raise SystemExit('run although nobody allowed it')", "utf-8")
    expected = load_tokenizer(cache, prepare(folders["gpt2"]))(TEXTS)["input_ids"]

    assert load_tokenizer(cache, prepare(path))(TEXTS)["input_ids"] == expected


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    tmp_path: Path, folders: dict[str, Path], data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_gguf(tmp_path / "tiny.gguf", folders["gpt2"])
    spec = BackboneSpec(source=str(path))

    def read(file: Path, source: str) -> GgufFacts:
        make_gguf(path, folders["gpt2"], general__name="other")
        return read_gguf(file, source)

    with monkeypatch.context() as patch:
        patch.setattr("worker.gguf_files.read_gguf", read)
        with pytest.raises(SourceChangedError, match="changed while it was read") as caught:
            prepare_backbone(spec, data, tmp_path)

    assert not caught.value.exit_code.is_permanent
    assert list((tmp_path / "backbones").iterdir()) == []
    assert prepare_backbone(spec, data, tmp_path) is not None


def test_a_file_can_be_an_arm_of_either_mode(
    tmp_path: Path,
    folders: dict[str, Path],
    prepare: Prepare,
    make_config: Callable[..., RunConfig],
    train: Callable[[RunConfig], RunRecords],
) -> None:
    path = make_gguf(tmp_path / "tiny.gguf", folders["gpt2"], storage=GGMLQuantizationType.Q8_0)
    backbone = prepare(path)
    frozen, live = (
        train(make_config(mode, backbone=backbone, steps=3, warmup_steps=1)).read_result()
        for mode in (Mode.FROZEN, Mode.LIVE)
    )

    assert frozen is not None
    assert live is not None
    assert frozen.backbone.revision == backbone.revision
    assert live.proof.weights_hash_before == frozen.proof.weights_hash_after != live.proof.weights_hash_after


def test_positions_that_llama_3_scales_are_scaled(
    tmp_path: Path, prepare: Prepare, cache: Path, folders: dict[str, Path]
) -> None:
    folder = make_repository(tmp_path / "llama3", "llama")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    scaling = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config["rope_scaling"] = scaling | {"original_max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    original = load_body(cache, prepare(folder), 48)
    unscaled_D = 1 / config["rope_theta"] ** (torch.arange(0, 8, 2) / 8)
    factors = (unscaled_D / original.get_buffer("rotary_emb.inv_freq")).numpy().astype(np.float32)
    file = make_gguf(tmp_path / "tiny.gguf", folder, tensors={"rope_freqs.weight": factors})

    expected = hidden(original, 400)
    torch.testing.assert_close(hidden(load_body(cache, prepare(file), 48), 400), expected, rtol=0, atol=1e-5)
    assert (hidden(load_body(cache, prepare(folders["gpt2"]), 48), 400) - expected).abs().max() > 0.1


@pytest.mark.parametrize(
    ("metadata", "said", "remedy"),
    [
        ({"split__count": 2, "split__no": 0}, "is one of 2 parts of a model", "llama-gguf-split --merge"),
        ({"general__type": "adapter"}, "is a GGUF file of type adapter, not a whole model", "merged"),
        ({"general__type": "mmproj"}, "is a GGUF file of type mmproj, not a whole model", "with the model itself"),
        ({"architecture": "rwkv9"}, "architecture 'rwkv9', which transformers does not read", "llama, "),
        ({"llama__attention__head_count_kv": None}, "does not say llama.attention.head_count_kv", "Convert"),
        ({"llama__attention__head_count": 8}, "transformers cannot load", "config.json"),
        ({"llama__attention__head_count_kv": 4}, "transformers cannot load", "config.json"),
        ({"llama__rope__scaling__type": "yarn"}, r"scales its positions \(yarn\)", "safetensors"),
        ({"tokenizer__ggml__model": "rwkv"}, "cannot load the tokenizer of .*'rwkv'", "llama.cpp's own converter"),
        ({"tokenizer__ggml__tokens": None}, "transformers cannot load", ""),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_file_that_is_no_whole_text_model_is_refused_with_what_to_do(
    metadata: dict[str, Any], said: str, remedy: str, tmp_path: Path, folders: dict[str, Path], prepare: Prepare
) -> None:
    path = make_gguf(tmp_path / "tiny.gguf", folders["gpt2"], **metadata)

    with pytest.raises(BackboneError, match=said) as caught:
        prepare(path)
    assert str(path) in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("share", [0.999, 0.5, 0.1, 0.001, 0.00001, 0])
def test_a_torn_file_is_refused(
    share: float, tmp_path: Path, folders: dict[str, Path], prepare: Prepare, cache: Path
) -> None:
    path = make_gguf(tmp_path / "tiny.gguf", folders["gpt2"])
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(BackboneError, match="is not a whole GGUF file") as caught:
        prepare(path)
    assert "Download or copy it again" in caught.value.remedy
    assert not list((cache / "backbones").glob(".making-*"))


def test_what_is_no_gguf_file_ends_its_prepare_step_with_code_42_and_no_traceback(
    tmp_path: Path,
    make_config: Callable[..., RunConfig],
    data: PreparedData,
    data_spec: DataSpec,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    events_of: Callable[..., list[dict[str, Any]]],
) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("<html>Sign in</html>")
    config = PrepareConfig(
        comparison="trial",
        name="p",
        answer="p.json",
        data=data_spec,
        backbone=BackboneSpec(source=str(path)),
        prepared_data=data,
        execution=make_config(Mode.FROZEN).execution,
    )

    assert start_worker(config).wait() == 42
    last = events_of()[-1]
    assert last["problem"] == f"{path} is not a whole GGUF file: GGUF magic invalid"
    assert "exception" not in last


def test_a_file_that_is_not_there_is_a_backbone_error_that_names_it(tmp_path: Path, prepare: Prepare) -> None:
    with pytest.raises(BackboneError, match=r"none\.gguf cannot be read: No such file"):
        prepare(tmp_path / "none.gguf")
