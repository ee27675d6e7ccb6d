"""The tiny repositories are what the hub holds for each family, and load through the Auto classes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from synthetic_news import CLASS_NAMES, synthetic_news
from tiny_repositories import (
    ARCHITECTURES,
    ag_news_like,
    make_pickle_repository,
    make_repository,
    make_sharded_repository,
)

TEXT = "Minister says \N{LATIN CAPITAL LETTER U WITH DIAERESIS}nicode goal"


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def hidden_states(model: torch.nn.Module, folder: Path) -> torch.Tensor:
    inputs = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")
    with torch.no_grad():
        hidden: torch.Tensor = model.eval()(**inputs).last_hidden_state
    return hidden


@pytest.mark.parametrize(
    ("architecture", "class_name"),
    [
        ("qwen3", "Qwen3ForCausalLM"),
        ("llama", "LlamaForCausalLM"),
        ("mistral", "MistralForCausalLM"),
        ("smollm3", "SmolLM3ForCausalLM"),
        ("gemma3", "Gemma3ForCausalLM"),
        ("qwen2", "Qwen2ForCausalLM"),
    ],
)
def test_repository_holds_the_causal_model_whose_body_loads_exactly(
    tmp_path: Path, architecture: str, class_name: str
) -> None:
    folder = make_repository(tmp_path, architecture)

    whole, body = AutoModelForCausalLM.from_pretrained(folder), AutoModel.from_pretrained(folder)

    assert read_json(folder / "config.json")["architectures"] == [class_name]
    assert isinstance(whole, getattr(transformers, class_name))
    assert torch.equal(hidden_states(whole.get_decoder(), folder), hidden_states(body, folder))
    assert len(AutoTokenizer.from_pretrained(folder)) < body.config.vocab_size
    assert sum(parameter.numel() for parameter in body.parameters()) < 100_000


@pytest.mark.parametrize(
    ("architecture", "pad", "first", "padding_side"),
    [
        ("qwen3", "<|endoftext|>", None, "right"),
        ("llama", None, "<|begin_of_text|>", "right"),
        ("mistral", None, "<s>", "right"),
        ("smollm3", "<|im_end|>", None, "right"),
        ("gemma3", "<pad>", "<bos>", "left"),
        ("qwen2", "<|endoftext|>", None, "right"),
    ],
)
def test_tokenizer_is_like_the_familys(
    tmp_path: Path, architecture: str, pad: str | None, first: str | None, padding_side: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_repository(tmp_path, architecture))

    ids = tokenizer(TEXT)["input_ids"]

    assert tokenizer.is_fast
    assert (tokenizer.pad_token, tokenizer.padding_side) == (pad, padding_side)
    assert (tokenizer.convert_ids_to_tokens(ids[0]) if ids[0] in tokenizer.all_special_ids else None) == first
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT
    assert tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equal_seeds_give_equal_bytes(tmp_path: Path, architecture: str) -> None:
    folders = [make_repository(tmp_path / str(number), architecture, seed=number // 2) for number in range(3)]

    first, second, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)

    assert first == second
    assert {name for name in first if first[name] != other[name]} == {"model.safetensors"}


def test_shards_and_pickle_hold_the_same_weights(tmp_path: Path) -> None:
    whole = make_repository(tmp_path / "whole", "llama")
    sharded = make_sharded_repository(tmp_path / "sharded")
    pickled = make_pickle_repository(tmp_path / "pickled")

    assert (sharded / "model.safetensors.index.json").is_file()
    assert len(list(sharded.glob("model-*.safetensors"))) > 1
    assert [path.name for path in pickled.iterdir() if path.suffix in {".bin", ".safetensors"}] == ["pytorch_model.bin"]
    expected = hidden_states(AutoModel.from_pretrained(whole), whole)
    assert torch.equal(hidden_states(AutoModel.from_pretrained(sharded), sharded), expected)
    weights = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    body = AutoModel.from_pretrained(whole)
    assert torch.equal(weights["model.embed_tokens.weight"], body.embed_tokens.weight)


def test_weights_are_stored_in_the_asked_dtype(tmp_path: Path) -> None:
    folder = make_repository(tmp_path, "qwen3", dtype=torch.bfloat16)

    assert read_json(folder / "config.json")["torch_dtype"] == "bfloat16"
    assert AutoModel.from_pretrained(folder).dtype is torch.bfloat16
    assert AutoModel.from_pretrained(folder, dtype=torch.float32).dtype is torch.float32


def test_news_depend_on_the_seed_and_never_repeat() -> None:
    texts, labels = synthetic_news(num_rows=400, seed=1)

    assert len(set(texts)) == len(texts)
    assert {labels.count(label) for label in range(len(CLASS_NAMES))} == {100}
    assert ag_news_like(num_rows=40, seed=1) == ag_news_like(num_rows=40, seed=1)
    assert ag_news_like(num_rows=40, seed=1) != ag_news_like(num_rows=40, seed=2)
