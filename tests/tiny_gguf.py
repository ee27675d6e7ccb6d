"""Tiny GGUF files as llama.cpp's converter makes them of a llama: names, order of rows, metadata and tokenizer.

Source:
    llama.cpp, convert_hf_to_gguf.py (LlamaModel, permute) and gguf-py/gguf/constants.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants
from safetensors.numpy import load_file

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_BYTE_TOKEN_LENGTH = len("<0x00>")


def make_gguf(
    path: Path,
    folder: Path,
    *,
    storage: GGMLQuantizationType = GGMLQuantizationType.F32,
    architecture: str = "llama",
    tensors: Mapping[str, npt.NDArray[np.float32]] | None = None,
    **metadata: Any,  # noqa: ANN401 - any GGUF value
) -> Path:
    """Write a llama's repository as one file.

    Args:
        path: The file.
        folder: As ``make_repository`` leaves it, in fp32.
        storage: Of matrices; vectors are always F32.
        architecture: What the file says it is.
        tensors: Written as well.
        metadata: Written as well, or instead of what the model has; ``__`` stands for a dot, None leaves a key out.

    Returns:
        ``path``.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer = GGUFWriter(path, architecture)
    values = {
        "general.type": "model",
        "general.name": "tiny",
        f"{architecture}.block_count": config["num_hidden_layers"],
        f"{architecture}.context_length": config["max_position_embeddings"],
        f"{architecture}.embedding_length": config["hidden_size"],
        f"{architecture}.feed_forward_length": config["intermediate_size"],
        f"{architecture}.attention.head_count": config["num_attention_heads"],
        f"{architecture}.attention.head_count_kv": config["num_key_value_heads"],
        f"{architecture}.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        f"{architecture}.rope.freq_base": float(config["rope_theta"]),
        f"{architecture}.rope.dimension_count": config["head_dim"],
        f"{architecture}.vocab_size": config["vocab_size"],
        **_tokenizer(folder, config["vocab_size"]),
    } | {name.replace("__", "."): value for name, value in metadata.items()}
    for name, value in values.items():
        _add(writer, name, value)
    for name, value in load_file(folder / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            value = value.reshape(heads, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)  # noqa: PLW2901
        for ours, theirs in _NAMES.items():
            name = name.replace(ours, theirs)  # noqa: PLW2901
        kept_as = storage if value.ndim > 1 else GGMLQuantizationType.F32
        writer.add_tensor(name, quants.quantize(value, kept_as), raw_dtype=kept_as)
    for name, value in (tensors or {}).items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: GGUFWriter, name: str, value: Any) -> None:  # noqa: ANN401 - any GGUF value
    match value:
        case None:
            return
        case bool():
            writer.add_bool(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case str():
            writer.add_string(name, value)
        case _:
            writer.add_array(name, value)


def _tokenizer(folder: Path, num_rows: int) -> dict[str, Any]:
    """Return the metadata of tokenizer.json: byte-level BPE ("gpt2"), or BPE with byte fallback ("llama")."""
    whole = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary: dict[str, int] = whole["model"]["vocab"]
    special = {token["content"]: token["id"] for token in whole["added_tokens"] if token["special"]}
    by_id = {index: token for token, index in (vocabulary | special).items()}
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(num_rows)]
    is_byte_level = not whole["model"]["byte_fallback"]
    merges = [" ".join(pair) for pair in whole["model"]["merges"]]

    def kind(token: str) -> TokenType:
        if token in special:
            return TokenType.CONTROL
        if token not in vocabulary:
            return TokenType.UNUSED
        is_byte = len(token) == _BYTE_TOKEN_LENGTH and token.startswith("<0x")
        return TokenType.BYTE if is_byte else TokenType.NORMAL

    ranks = {merge.replace(" ", ""): -float(rank) for rank, merge in enumerate(merges)}
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    begins = "SpecialToken" in str(whole["post_processor"])
    ids = {
        f"tokenizer.ggml.{key}_token_id": special.get(settings.get(f"{name}_token"))
        for key, name in {"bos": "bos", "eos": "eos", "unknown": "unk"}.items()
    }
    own = (
        {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.merges": merges}
        if is_byte_level
        else {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.scores": [ranks.get(token, -1e6) for token in tokens],
        }
    )
    return {
        **own,
        **ids,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [int(kind(token)) for token in tokens],
        "tokenizer.ggml.add_bos_token": begins,
    }
