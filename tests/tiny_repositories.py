"""Tiny model repositories as the hub holds them: the causal language model with its head, random weights, a tokenizer.

Each is of the real transformers class of its family and small enough to be made in a test: 2 layers of width 32.
config.json and tokenizer_config.json are in the form of transformers 4, as most published repositories have them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from synthetic_news import ag_news_like
from tiny_tokenizers import make_tokenizer

__all__ = [
    "ARCHITECTURES",
    "ag_news_like",
    "make_pickle_repository",
    "make_repository",
    "make_sharded_repository",
]

ARCHITECTURES = ("qwen3", "llama", "mistral", "smollm3", "gemma3", "qwen2")
"""As in ``tiny:<architecture>``."""

_CLASSES = {
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    "smollm3": (transformers.SmolLM3Config, transformers.SmolLM3ForCausalLM),
    "gemma3": (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
}

_HEAD_DIM = 8
_SLIDING_WINDOW = 16
_SHARD_BYTES = 40_000
"""Less than half of the smallest of these models."""

_PUBLISHED_VERSION = "4.51.3"
"""Version of transformers that the published form names."""

_PUBLISHED_TOKENIZERS: dict[str, dict[str, Any]] = {
    "qwen3": {"add_bos_token": False},
    "llama": {"tokenizer_class": "PreTrainedTokenizerFast"},
    "mistral": {"add_bos_token": True, "add_eos_token": False},
    "smollm3": {"tokenizer_class": "PreTrainedTokenizerFast"},
    "gemma3": {"add_bos_token": True, "add_eos_token": False, "padding_side": "left"},
    "qwen2": {"add_bos_token": False},
}
"""What tokenizer_config.json says in the published form where transformers 5 says something else or nothing."""


def make_repository(
    folder: Path,
    architecture: str,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    max_shard_bytes: int = 5_000_000_000,
) -> Path:
    """Write config.json, generation_config.json, model.safetensors and the tokenizer's files.

    Args:
        folder: Made if missing.
        architecture: One of ``ARCHITECTURES``.
        seed: Of the weights: equal seeds give equal bytes.
        dtype: Of the stored weights; most real repositories store bfloat16.
        max_shard_bytes: Largest weights file.

    Returns:
        ``folder``.
    """
    tokenizer = make_tokenizer(architecture)
    model = _make_model(architecture, tokenizer, seed, dtype)
    model.save_pretrained(folder, max_shard_size=max_shard_bytes)
    tokenizer.save_pretrained(folder)
    _edit(folder / "config.json", _publish_config)
    _edit(folder / "tokenizer_config.json", lambda config: {**config, **_PUBLISHED_TOKENIZERS[architecture]})
    return folder


def make_sharded_repository(folder: Path, architecture: str = "llama", *, seed: int = 0) -> Path:
    """Write the same model as ``make_repository`` in several safetensors files with their index."""
    return make_repository(folder, architecture, seed=seed, max_shard_bytes=_SHARD_BYTES)


def make_pickle_repository(folder: Path, architecture: str = "llama", *, seed: int = 0) -> Path:
    """Write the same model as ``make_repository`` with its weights in pytorch_model.bin only, a pickle."""
    make_repository(folder, architecture, seed=seed)
    (folder / "model.safetensors").unlink()
    model = _make_model(architecture, make_tokenizer(architecture), seed, torch.float32)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def _make_model(
    architecture: str, tokenizer: PreTrainedTokenizerFast, seed: int, dtype: torch.dtype
) -> PreTrainedModel:
    config = _make_config(architecture, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cast("torch.nn.Module", _CLASSES[architecture][1](config))
    return cast("PreTrainedModel", model.to(dtype))


def _make_config(architecture: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    """Return a config with the family's own arguments; ids as its real config.json has them.

    The vocabulary is rounded up to a multiple of 64, so that, as in the real models, some rows belong to no token.
    """
    config_class = _CLASSES[architecture][0]
    common: dict[str, Any] = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
        "tie_word_embeddings": architecture != "mistral",
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id if architecture in {"smollm3", "gemma3"} else None,
    }
    own: dict[str, dict[str, Any]] = {
        "qwen3": {"head_dim": _HEAD_DIM},
        "llama": {"head_dim": _HEAD_DIM},
        "mistral": {"head_dim": _HEAD_DIM, "sliding_window": _SLIDING_WINDOW},
        "smollm3": {"no_rope_layers": [1, 0]},
        "gemma3": {
            "head_dim": _HEAD_DIM,
            "query_pre_attn_scalar": _HEAD_DIM,
            "sliding_window": _SLIDING_WINDOW,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "qwen2": {},
    }
    return cast("PreTrainedConfig", config_class(**common, **own[architecture]))


def _publish_config(config: dict[str, Any]) -> dict[str, Any]:
    """Turn a config of transformers 5 into the form of transformers 4."""
    rope = config.pop("rope_parameters")
    if "full_attention" in rope:
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    else:
        config["rope_theta"] = rope["rope_theta"]
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = _PUBLISHED_VERSION
    return {**config, "rope_scaling": None}


def _edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    config = change(json.loads(path.read_text("utf-8")))
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
