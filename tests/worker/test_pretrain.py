"""Tiny backbones: a brief training as a language model, of which the body is kept.

Shapes: ``B`` batch, ``T`` tokens.
"""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from worker.batches import pad
from worker.contract.arms import TINY_ARCHITECTURES
from worker.contract.config import PreparedData
from worker.data import load_split
from worker.model import num_parameters, weights_hash
from worker.pretrain import byte_tokenizer, pretrain_tiny, tiny_config
from worker.tiny import PRETRAINING, SLIDING_WINDOW, SPECIFIC, tiny_recipe
from worker.tokens import tokenize

CLASS_NAMES = {
    "qwen3": "Qwen3Model",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "smollm3": "SmolLM3Model",
    "gemma3": "Gemma3TextModel",
    "qwen2": "Qwen2Model",
}


@pytest.fixture(scope="module")
def texts(data: PreparedData, cache: Path) -> list[str]:
    return [example.text for example in load_split(cache, data, "train")]


def pretrain(architecture: str, texts: list[str], folder: Path, steps: int, seed: int = 0) -> Path:
    recipe = PRETRAINING._replace(steps=steps, warmup_steps=min(steps, 10), seed=seed)
    pretrain_tiny(architecture, texts, folder, recipe=recipe, num_threads=1)
    return folder


def language_model_loss(folder: Path, texts: list[str]) -> float:
    """Nats per token, with the head that is tied to the embedding."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    batch = pad(tokenize(AutoTokenizer.from_pretrained(folder), texts, 64), range(len(texts)))
    labels_BT = batch.ids_BT.masked_fill(batch.mask_BT == 0, -100)
    with torch.no_grad():
        return float(model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, labels=labels_BT).loss)


def test_the_recipe_covers_the_architectures_of_the_contract() -> None:
    assert tuple(SPECIFIC) == TINY_ARCHITECTURES


@pytest.mark.parametrize("architecture", TINY_ARCHITECTURES)
def test_the_body_is_kept_without_a_language_model_head_and_loads_exactly(
    tmp_path: Path, texts: list[str], architecture: str
) -> None:
    folder = pretrain(architecture, texts, tmp_path, steps=1)
    body, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    stored = load_file(folder / "model.safetensors")

    assert type(body).__name__ == CLASS_NAMES[architecture]
    assert not any(report.values())
    assert {name for name in stored if "lm_head" in name} == set()
    assert set(stored) == set(body.state_dict())
    assert all(torch.equal(body.state_dict()[name], value) for name, value in stored.items())
    assert {value.dtype for value in stored.values()} == {torch.float32}
    assert 180_000 < num_parameters(body) < 200_000


def test_pretraining_lowers_the_language_model_loss(tmp_path: Path, texts: list[str]) -> None:
    before = language_model_loss(pretrain("qwen3", texts, tmp_path / "before", steps=1), texts[:16])
    after = language_model_loss(pretrain("qwen3", texts, tmp_path / "after", steps=30), texts[:16])

    assert after < min(before, math.log(260)) - 1


def test_equal_texts_and_seeds_give_equal_weights(tmp_path: Path, texts: list[str]) -> None:
    hashes = [
        weights_hash(AutoModel.from_pretrained(pretrain("llama", some, tmp_path / str(number), steps=2, seed=seed)))
        for number, (some, seed) in enumerate([(texts, 0), (texts, 0), (texts, 1), (texts[1:], 0)])
    ]

    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_the_tokenizer_loses_no_byte_and_ends_every_text(tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "été, \N{SNOWMAN}\n\t  z"
    ids = tokenizer(text)["input_ids"]

    assert ids[-1] == tokenizer.eos_token_id == 1
    assert str(tokenizer.decode(ids, skip_special_tokens=True)) == text
    assert max(tokenizer.get_vocab().values()) < 260
    assert len(tokenizer("zz")["input_ids"]) == 3


def test_architectures_with_a_window_keep_one_that_texts_exceed() -> None:
    assert tiny_config("mistral").sliding_window == tiny_config("gemma3").sliding_window == SLIDING_WINDOW == 32


def test_the_recipe_of_an_architecture_names_all_that_its_weights_depend_on() -> None:
    recipe = tiny_recipe("gemma3")

    assert recipe["pretraining"] == PRETRAINING._asdict()
    assert recipe["model_type"] == "gemma3_text"
    assert recipe["hidden_size"] == 96
    assert recipe["layer_types"] == ["sliding_attention", "full_attention"]
    assert recipe != tiny_recipe("qwen3")
