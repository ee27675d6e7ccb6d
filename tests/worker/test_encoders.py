"""Backbones of every kind: encoders, decoders and encoder-decoders, as they are published.

Shapes: ``B`` batch, ``T`` tokens, ``D`` hidden size.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache as cache_forever
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from tiny_architectures import ARCHITECTURES, make_model
from worker.backbone import load_body, load_tokenizer, prepare_backbone
from worker.batches import pad
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import BackboneError
from worker.contract.store import RunRecords
from worker.model import PooledBackbone, num_parameters
from worker.tokens import tokenize

NAMES = tuple(ARCHITECTURES)
TEXTS = ["Minister says unicode goal", "Profit", "Striker scores a goal in the last minute of the league match"]
T = 40
Load = Callable[..., PooledBackbone]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A repository of an architecture, made once; not to be changed."""
    root = tmp_path_factory.mktemp("architectures")
    return cache_forever(lambda name: make_model(root / name, name))


@pytest.fixture
def prepare(data: PreparedData, cache: Path) -> Callable[[Path], PreparedBackbone]:
    def prepare(folder: Path) -> PreparedBackbone:
        prepared = prepare_backbone(BackboneSpec(source=str(folder)), data, cache)
        assert prepared is not None
        return prepared

    return prepare


@pytest.fixture
def load(prepare: Callable[[Path], PreparedBackbone], cache: Path) -> Load:
    """Load the frozen backbone of a folder."""

    def load(folder: Path, max_tokens: int = T) -> PooledBackbone:
        return PooledBackbone(load_body(cache, prepare(folder), max_tokens), is_frozen=True)

    return load


@pytest.fixture
def copied(tmp_path: Path, folder_of: Callable[[str], Path]) -> Callable[[str], Path]:
    """A repository of an architecture, to be changed."""
    return lambda name: Path(shutil.copytree(folder_of(name), tmp_path / name))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def feature(backbone: PooledBackbone, ids: Tensor) -> Tensor:
    """Return ``[1, D]`` of one text."""
    pooled_1D: Tensor = backbone(ids.unsqueeze(0), torch.ones(1, len(ids), dtype=torch.int64))
    return pooled_1D


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_mean_of_the_encoders_last_hidden_states(
    name: str, folder_of: Callable[[str], Path], load: Load, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = folder_of(name)
    whole = ARCHITECTURES[name].model.from_pretrained(folder).eval()  # type: ignore[attr-defined] # of PreTrainedModel
    expected = whole.get_encoder() if whole.config.is_encoder_decoder else whole.base_model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backbone = load(folder)
    tokens = tokenize(load_tokenizer(cache, prepare(folder)), TEXTS, T)

    for text, ids in zip(TEXTS, tokens.ids, strict=True):
        hidden_BTD = expected(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state
        torch.testing.assert_close(feature(backbone, ids), hidden_BTD.mean(dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_features_do_not_depend_on_the_side_of_the_padding_its_token_or_the_batchs_company(
    name: str, folder_of: Callable[[str], Path], load: Load
) -> None:
    backbone = load(folder_of(name))
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(5, 400, (length,), generator=generator) for length in (5, 1, 17)]
    alone_BD = torch.cat([feature(backbone, ids) for ids in texts])

    assert alone_BD.std(dim=0).min() > 1e-3
    # 0 to 3 pad, begin or end texts in one family or another; 7 is an ordinary token.
    for side, filler in [(side, filler) for side in ("right", "left") for filler in (0, 1, 2, 3, 7)]:
        ids_BT = torch.full((3, T), filler)
        mask_BT = torch.zeros(3, T, dtype=torch.int64)
        for row, ids in enumerate(texts):
            span = slice(0, len(ids)) if side == "right" else slice(T - len(ids), T)
            ids_BT[row, span], mask_BT[row, span] = ids, 1
        torch.testing.assert_close(backbone(ids_BT, mask_BT), alone_BD, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if ARCHITECTURES[name].num_positions])
def test_as_many_tokens_are_allowed_as_the_model_has_positions_for(
    name: str, folder_of: Callable[[str], Path], load: Load
) -> None:
    limit = ARCHITECTURES[name].num_positions
    assert limit is not None
    feature(load(folder_of(name), limit), torch.arange(5, 5 + limit))

    with pytest.raises(BackboneError, match=f"reads at most {limit} tokens, training.max_tokens is {limit + 1}"):
        load(folder_of(name), limit + 1)


@pytest.mark.parametrize("name", ["roberta", "bart", "bert"])
def test_one_token_more_is_more_than_the_model_can_read(
    name: str, folder_of: Callable[[str], Path], load: Load
) -> None:
    backbone = load(folder_of(name))

    with pytest.raises((RuntimeError, IndexError)):
        feature(backbone, torch.arange(5, 5 + (ARCHITECTURES[name].num_positions or 0) + 1))


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_an_arm_of_any_kind_trains_frozen_and_live(
    name: str,
    folder_of: Callable[[str], Path],
    prepare: Callable[[Path], PreparedBackbone],
    make_config: Callable[..., RunConfig],
    train: Callable[[RunConfig], RunRecords],
) -> None:
    backbone = prepare(folder_of(name))
    with torch.inference_mode(mode=False):
        results = [
            train(make_config(mode, backbone=backbone, steps=3, warmup_steps=1)).read_result()
            for mode in (Mode.FROZEN, Mode.LIVE)
        ]

    frozen, live = results
    assert frozen is not None
    assert live is not None
    assert frozen.proof.weights_hash_before == frozen.proof.weights_hash_after == live.proof.weights_hash_before
    assert live.proof.weights_hash_after != live.proof.weights_hash_before


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("bert", transformers.BertModel),
        ("bert", transformers.BertForSequenceClassification),
        ("roberta", transformers.RobertaModel),
        ("t5", transformers.T5EncoderModel),
        ("bart", transformers.BartModel),
        ("gpt2", transformers.GPT2Model),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_the_same_body_comes_out_whatever_class_it_was_saved_as(
    name: str,
    form: type,
    copied: Callable[[str], Path],
    folder_of: Callable[[str], Path],
    load: Load,
) -> None:
    usual = ARCHITECTURES[name].model.from_pretrained(folder_of(name))  # type: ignore[attr-defined] # of PreTrainedModel
    weights, prefix = usual.state_dict(), usual.base_model_prefix
    saved = copied(name)

    def same_weights(config: transformers.PreTrainedConfig) -> torch.nn.Module:
        other: torch.nn.Module = form(config)
        known = {key: weights.get(key, weights.get(f"{prefix}.{key}")) for key in other.state_dict()}
        other.load_state_dict({key: value for key, value in known.items() if value is not None}, strict=False)
        return other

    with torch.inference_mode(mode=False):
        make_model(saved, name, model=same_weights)
    ids = torch.arange(10, 20)
    assert json.loads((saved / "config.json").read_text("utf-8"))["architectures"] == [form.__name__]
    assert torch.equal(feature(load(saved), ids), feature(load(folder_of(name)), ids))
    assert num_parameters(load(saved)) == num_parameters(load(folder_of(name)))


def test_an_encoder_that_lacks_a_weight_other_than_its_poolers_is_refused(
    copied: Callable[[str], Path], load: Load
) -> None:
    folder = copied("bert")
    key = "bert.encoder.layer.1.output.dense.bias"
    change_weights(folder, lambda weights: {name: value for name, value in weights.items() if name != key})

    with pytest.raises(BackboneError, match=r"lacks 1 weights, among them encoder\.layer\.1\.output\.dense\.bias"):
        load(folder)


def test_weights_under_the_names_of_the_first_bert_are_read(copied: Callable[[str], Path], load: Load) -> None:
    folder = copied("bert")
    ids = torch.arange(10, 20)
    expected = feature(load(folder), ids)

    def rename(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        return {
            next((name.replace(new, first) for new, first in old.items() if new in name), name): value
            for name, value in weights.items()
        }

    change_weights(folder, rename)
    assert any("gamma" in name for name in load_file(folder / "model.safetensors"))
    assert torch.equal(feature(load(folder), ids), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_on_disk_is_computed_with_in_single(
    dtype: torch.dtype, copied: Callable[[str], Path], load: Load
) -> None:
    folder = copied("bert")
    change_weights(folder, lambda weights: {name: value.to(dtype) for name, value in weights.items()})
    rounded = load(folder)
    change_weights(folder, lambda weights: {name: value.to(torch.float32) for name, value in weights.items()})
    ids = torch.arange(10, 20)

    assert {value.dtype for value in rounded.parameters()} == {torch.float32}
    assert torch.equal(feature(rounded, ids), feature(load(folder), ids))


def test_a_folder_of_sentence_transformers_is_read_with_its_own_tokens(
    copied: Callable[[str], Path], load: Load, prepare: Callable[[Path], PreparedBackbone], cache: Path
) -> None:
    folder = copied("bert")
    plain = [ids.tolist() for ids in tokenize(load_tokenizer(cache, prepare(folder)), TEXTS, T).ids]
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_cls_token": true}'
    )
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8, "do_lower_case": false}')
    # Such a tokenizer asks for padding and cutting of its own.
    path = folder / "tokenizer.json"
    asked = {
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 8},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    }
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | asked), "utf-8")
    tokens = tokenize(load_tokenizer(cache, prepare(folder)), TEXTS, T)

    assert [ids.tolist() for ids in tokens.ids] == plain
    assert tokens.num_truncated == 0
    assert load(folder)(*pad(tokens, [0, 1, 2])[1:]).shape == (3, 32)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (transformers.ViTConfig(), "is a ViTModel, which does not read text alone"),
        (transformers.CLIPConfig(), "is a CLIPModel, which does not read text alone"),
        (transformers.Wav2Vec2Config(), "is a Wav2Vec2Model, which does not read text alone"),
        (transformers.WhisperConfig(), "is a WhisperModel, which does not read text alone"),
        (transformers.Gemma3Config(), "is a Gemma3Model, which does not read text alone"),
        (transformers.EncodecConfig(), "is a EncodecModel, which does not read text alone"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value.model_type,
)
def test_a_model_that_reads_more_or_other_than_text_is_refused_before_its_weights_are_read(
    config: transformers.PreTrainedConfig, said: str, tmp_path: Path, load: Load
) -> None:
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not read")

    with pytest.raises(BackboneError, match=said) as caught:
        load(tmp_path)
    assert "Name a text model" in caught.value.remedy
