"""GGUF files: what one holds, whether it can be a backbone, and its weights and tokenizer as an ordinary folder.

A file is read once, when it is prepared: transformers takes a hundred times as long for one as for safetensors.
"""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.contract.errors import BackboneError
from worker.contract.machine import is_of_the_machine
from worker.pretrained import explaining, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROPE_FACTORS = "rope_freqs.weight"
"""Tensor by whose values the frequencies of a llama are divided (llama 3.1 and later); transformers leaves it out."""


class GgufFacts(NamedTuple):
    """What a file says of itself, as far as it decides whether and how it is read."""

    architecture: str
    values: dict[str, Any]
    """Metadata but for arrays."""
    rope_factors: list[float]


def write_gguf_as_folder(path: Path, source: str, folder: Path) -> None:
    """Write a file's model in fp32, and its tokenizer, as ``save_pretrained`` does.

    Args:
        path: The file.
        source: As in the plan, for messages.
        folder: Where to write.

    Raises:
        BackboneError: It is torn, not a whole text model, or of a kind that transformers does not read.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds to import, and not needed for other sources

    facts = read_gguf(path, source)
    check_gguf(facts, source)
    remedy = "Name a GGUF file that llama.cpp's own converter made of a text model, or the model's safetensors."
    # What else lies beside the file is not part of it, and would be read with it.
    with tempfile.TemporaryDirectory() as alone:
        Path(alone, path.name).symlink_to(path.absolute())
        only = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
        model = load_model(Path(alone), source, **only)
        with explaining(f"the tokenizer of {source}", remedy):
            tokenizer = AutoTokenizer.from_pretrained(alone, **only)
    if facts.rope_factors:
        _divide_frequencies(model, facts.rope_factors)
    # The weights are plain numbers now, and may be saved.
    del model.hf_quantizer
    del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def read_gguf(path: Path, source: str) -> GgufFacts:
    """Read what a file says of itself, and check that all of its tensors are there.

    Raises:
        BackboneError: It is not a whole GGUF file.
    """
    from gguf import GGUFReader, GGUFValueType  # noqa: PLC0415 - not needed for other sources

    try:
        reader = GGUFReader(path)
        values = {
            name: field.contents()
            for name, field in reader.fields.items()
            if field.types and field.types[0] is not GGUFValueType.ARRAY
        }
        factors = [tensor.data.tolist() for tensor in reader.tensors if tensor.name == _ROPE_FACTORS]
        return GgufFacts(str(values["general.architecture"]), values, factors[0] if factors else [])
    except (OSError, ValueError, IndexError, KeyError) as error:
        if is_of_the_machine(error):
            raise
        raise BackboneError(
            f"{source} is not a whole GGUF file: {error}",
            remedy="Download or copy it again; compare its size with the one at its origin.",
        ) from error


def check_gguf(facts: GgufFacts, source: str) -> None:
    """Refuse a file that is no whole text model, or one that would be read wrongly.

    Raises:
        BackboneError: As above.
    """
    values, architecture = facts.values, facts.architecture
    if (kind := values.get("general.type", "model")) != "model":
        raise BackboneError(
            f"{source} is a GGUF file of type {kind}, not a whole model.",
            remedy="Name the file with the model itself; an adapter is merged into it first (llama-export-lora).",
        )
    if values.get("split.count", 1) > 1:
        raise BackboneError(
            f"{source} is one of {values['split.count']} parts of a model.",
            remedy="Join them: llama-gguf-split --merge FIRST-PART WHOLE.gguf, and name the whole file.",
        )
    supported = _supported_architectures()
    if _squeeze(architecture) not in map(_squeeze, supported):
        raise BackboneError(
            f"{source} is of the architecture {architecture!r}, which transformers does not read from GGUF.",
            remedy=f"Name the model's safetensors, or a GGUF file of {', '.join(supported)}.",
        )
    if architecture == "llama" and f"{architecture}.attention.head_count_kv" not in values:
        # Rows of queries and keys stand in another order in the file; transformers then leaves them so.
        raise BackboneError(
            f"{source} does not say llama.attention.head_count_kv; transformers would read it wrongly.",
            remedy="Convert the model again with a current llama.cpp, or name its safetensors.",
        )
    _check_positions(facts, source)


def _check_positions(facts: GgufFacts, source: str) -> None:
    """Refuse positions that are scaled in a way that is lost, which would make another model of it."""
    scaling = facts.values.get(f"{facts.architecture}.rope.scaling.type", "none")
    has_own_form = facts.architecture == ("llama" if facts.rope_factors else "gpt-oss")
    if (scaling != "none" or facts.rope_factors) and not has_own_form:
        raise BackboneError(
            f"{source} scales its positions ({scaling}), which transformers does not read from GGUF.",
            remedy="Name the model's safetensors.",
        )


def _supported_architectures() -> list[str]:
    from transformers.integrations.gguf.gguf_conversion_mapping import GGUF_ARCHS  # noqa: PLC0415 - as above
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES  # noqa: PLC0415

    return sorted({*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_ARCHS, "t5encoder"} - {"general", "tokenizer"})


def _squeeze(name: str) -> str:
    """Return an architecture's name as both libraries would write it."""
    return re.sub(r"[-_]", "", name)


def _divide_frequencies(model: "PreTrainedModel", factors: list[float]) -> None:
    """Give a model the position frequencies of its file: each default one over its factor.

    The configuration has no such form, but one for two sets of factors, of which the longer texts' is the same here.
    """
    length = model.config.max_position_embeddings
    model.config.rope_parameters = {
        "rope_type": "longrope",
        "rope_theta": model.config.rope_parameters["rope_theta"],
        "short_factor": factors,
        "long_factor": factors,
        "factor": 1.0,
        "attention_factor": 1.0,
        "original_max_position_embeddings": length,
    }
