"""Tiny backbones: their recipe. The real transformers classes, small enough to pretrain on a laptop in seconds.

They are stand-ins that show the machinery without a hub; they are not the models whose architecture they share.
``worker.pretrain`` follows this recipe. This module loads nothing heavy, so that a cached backbone is found at once.
"""

from typing import Any, NamedTuple

HIDDEN_SIZE = 96
NUM_HEADS = 4
HEAD_SIZE = HIDDEN_SIZE // NUM_HEADS
SLIDING_WINDOW = 32
"""Tokens. Below the texts' lengths, so that the architectures that have a window differ from those that have none."""

COMMON = {
    "vocab_size": 260,
    "hidden_size": HIDDEN_SIZE,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": NUM_HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
    "tie_word_embeddings": True,
    "use_cache": False,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
}
"""256 bytes and three special tokens, rounded up. About 191,000 parameters with two layers."""

SPECIFIC: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("qwen3", {"head_dim": HEAD_SIZE}),
    "llama": ("llama", {"head_dim": HEAD_SIZE}),
    "mistral": ("mistral", {"head_dim": HEAD_SIZE, "sliding_window": SLIDING_WINDOW}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0]}),
    "gemma3": (
        "gemma3_text",
        {
            "head_dim": HEAD_SIZE,
            "query_pre_attn_scalar": HEAD_SIZE,
            "sliding_window": SLIDING_WINDOW,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "qwen2": ("qwen2", {}),
}
"""transformers' name of each architecture, and what it needs beyond ``COMMON`` to keep its character at this size."""


class Pretraining(NamedTuple):
    """How a tiny backbone is pretrained as a causal language model: AdamW, warm-up, cosine decay."""

    steps: int = 300
    texts_per_step: int = 16
    max_tokens: int = 64
    lr: float = 6e-3
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_steps: int = 30
    final_lr_ratio: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 0


PRETRAINING = Pretraining()


def tiny_recipe(architecture: str) -> dict[str, Any]:
    """Return everything but the texts that a tiny backbone's weights depend on, for its content address."""
    model_type, specific = SPECIFIC[architecture]
    return {"version": 1, "model_type": model_type, **COMMON, **specific, "pretraining": PRETRAINING._asdict()}
