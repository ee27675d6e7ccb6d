"""Tiny repositories of architectures that ``tiny:`` has not: encoders, older decoders, encoder-decoders.

Each is saved as its usual task class, as published checkpoints are: with the task's head, without a pooler.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import transformers
from transformers import PreTrainedModel

from tiny_tokenizers import make_tokenizer

VOCABULARY = 512
POSITIONS = 64
"""Tokens that an architecture with a table of positions can read."""

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.1,
}
_RESERVED = {"max_position_embeddings": POSITIONS + 2}
"""Of RoBERTa's kin: the first two positions are never a token's."""


class Architecture(NamedTuple):
    """How one is made, and what is right for it."""

    model: type
    tokenizer: str
    arguments: dict[str, Any]
    num_positions: int | None = POSITIONS


def _sized(**names: str) -> dict[str, Any]:
    """Return the sizes under an architecture's own names."""
    return {names.get(key, key): value for key, value in _SIZES.items() if names.get(key) != ""}


_GPT2 = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
    "intermediate_size": "n_inner",
}
_DISTILBERT = {
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
}
_T5: dict[str, Any] = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "max_position_embeddings": POSITIONS,
    **{
        f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in {"layers": 2, "ffn_dim": 64}.items()
    },
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
}

ARCHITECTURES = {
    "bert": Architecture(transformers.BertForMaskedLM, "bert", _sized()),
    "roberta": Architecture(transformers.RobertaForMaskedLM, "roberta", _sized() | _RESERVED),
    "distilbert": Architecture(transformers.DistilBertForMaskedLM, "bert", _sized(**_DISTILBERT)),
    "electra": Architecture(transformers.ElectraForPreTraining, "bert", _sized() | {"embedding_size": 16}),
    "mpnet": Architecture(transformers.MPNetForMaskedLM, "roberta", _sized() | _RESERVED),
    "modernbert": Architecture(
        transformers.ModernBertForMaskedLM,
        "bert",
        _sized()
        | {"local_attention": 16, **dict.fromkeys(("bos_token_id", "cls_token_id"), 2), "pad_token_id": 0}
        | dict.fromkeys(("eos_token_id", "sep_token_id"), 3),
    ),
    "albert": Architecture(transformers.AlbertForMaskedLM, "bert", _sized() | {"embedding_size": 16}),
    "gpt2": Architecture(
        transformers.GPT2LMHeadModel, "llama", _sized(**_GPT2) | {"bos_token_id": 0, "eos_token_id": 0}
    ),
    "opt": Architecture(
        transformers.OPTForCausalLM,
        "roberta",
        _sized(intermediate_size="ffn_dim", initializer_range="init_std") | {"word_embed_proj_dim": 32},
    ),
    "t5": Architecture(transformers.T5ForConditionalGeneration, "bert", _T5, num_positions=None),
    "bart": Architecture(transformers.BartForConditionalGeneration, "roberta", _BART),
}


def make_model(folder: Path, name: str, *, model: Callable[[Any], Any] | None = None, seed: int = 0) -> Path:
    """Write config.json, model.safetensors and the tokenizer's files.

    Args:
        folder: Made if missing.
        name: A key of ``ARCHITECTURES``.
        model: Class to save the weights of, instead of the usual one.
        seed: Of the weights.

    Returns:
        ``folder``.
    """
    architecture = ARCHITECTURES[name]
    config = architecture.model.config_class(**architecture.arguments)  # type: ignore[attr-defined] # of PreTrainedModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = cast("PreTrainedModel", (model or architecture.model)(config))
    made.save_pretrained(folder)
    make_tokenizer(architecture.tokenizer).save_pretrained(folder)
    return folder
