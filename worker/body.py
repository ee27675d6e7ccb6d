"""The body of a prepared backbone, which turns tokens into hidden states, and the tokenizer beside it."""

from functools import cache as cache_forever
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from worker.contract.config import PreparedBackbone
from worker.contract.errors import BackboneError
from worker.contract.records import content_hash
from worker.hub import HubFailure, snapshot_folder
from worker.model_files import digest_folder
from worker.pretrained import explaining, load_model, max_positions, used_part

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

_VOCABULARY_FILES = ("tokenizer.json", "*vocab*", "*.model", "*.spm", "*.tiktoken", "*.codes", "merges.txt")


def backbone_folder(cache: Path, backbone: PreparedBackbone) -> Path:
    """Return where a prepared backbone lies.

    Raises:
        BackboneError: It is of the hub, and was not fetched into this cache.
    """
    match backbone.kind:
        case "folder":
            return Path(backbone.source).expanduser()
        case "tiny":
            return cache / "backbones" / backbone.revision
        case "gguf":
            # What a file becomes depends on the library that reads it.
            return cache / "backbones" / content_hash([backbone.revision, version("transformers")])
        case "hub":
            try:
                return snapshot_folder(backbone.source, backbone.revision, cache)
            except HubFailure as failure:
                raise BackboneError(failure.problem, remedy=failure.remedy) from failure


def load_body(cache: Path, backbone: PreparedBackbone, max_tokens: int) -> "nn.Module":
    """Load a backbone's body in fp32 on the CPU, without a language-model head.

    Raises:
        BackboneError: transformers cannot load it, weights are missing, it does not read text alone, or it reads fewer
            than ``max_tokens`` tokens.
    """
    folder = _whole_folder(cache, backbone)
    body = used_part(load_model(folder, backbone.source, trust_remote_code="model" in backbone.own_code))
    limit = max_positions(body)
    if limit is not None and limit < max_tokens:
        raise BackboneError(
            f"{backbone.source} reads at most {limit} tokens, training.max_tokens is {max_tokens}.",
            remedy=f"Set training.max_tokens to at most {limit}.",
        )
    return body


def load_tokenizer(cache: Path, backbone: PreparedBackbone) -> "PreTrainedTokenizerBase":
    """Load a backbone's own tokenizer.

    Raises:
        BackboneError: It has none that transformers can load.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds to import, and not needed to prepare

    folder = _whole_folder(cache, backbone)
    with explaining(f"the tokenizer of {backbone.source}", "Save the tokenizer beside the weights (tokenizer.json)."):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code="tokenizer" in backbone.own_code, local_files_only=True
        )
    # Without its files transformers makes one that takes every word for the unknown one.
    if tokenizer.vocab_files_names and not any(any(folder.glob(pattern)) for pattern in _VOCABULARY_FILES):
        raise BackboneError(
            f"transformers cannot load the tokenizer of {backbone.source}: there is no vocabulary in {folder}.",
            remedy="Save the tokenizer beside the weights (tokenizer.json).",
        )
    return tokenizer


def num_embeddings(cache: Path, backbone: PreparedBackbone) -> int | None:
    """Return how many token ids a backbone has an embedding for, without loading it; None if it has no such table.

    Raises:
        BackboneError: transformers cannot read its configuration.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - as in load_tokenizer

    with explaining(backbone.source, "Use a model whose architecture this transformers has, with its config.json."):
        config = AutoConfig.from_pretrained(
            _whole_folder(cache, backbone), trust_remote_code="model" in backbone.own_code, local_files_only=True
        )
    size = getattr(config, "vocab_size", None)
    return size if isinstance(size, int) else None


def _whole_folder(cache: Path, backbone: PreparedBackbone) -> Path:
    """Return a backbone's folder if it is still there and still what was prepared."""
    folder = backbone_folder(cache, backbone)
    with_code = bool(backbone.own_code)
    if backbone.kind == "folder" and not _is_unchanged(folder, backbone.revision, with_code):
        raise BackboneError(
            f"{folder} has changed since it was prepared.", remedy="Run the comparison again: it is prepared anew."
        )
    if not (folder / "config.json").exists():
        raise BackboneError(
            f"{backbone.source} is not in the cache {cache}.", remedy="Run the comparison again: it is prepared anew."
        )
    return folder


@cache_forever
def _is_unchanged(folder: Path, revision: str, with_code: bool) -> bool:  # noqa: FBT001 - a key of the cache
    """Whether a folder is what was prepared; looked up once per process, as a live arm loads its backbone often."""
    return digest_folder(folder, with_code=with_code) == revision
