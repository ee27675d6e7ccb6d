"""Tokens: each text tokenized once, and kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from worker.contract.config import PreparedData
from worker.contract.errors import BackboneError, DataError
from worker.contract.local_files import write_file_atomically
from worker.contract.records import content_hash
from worker.data import load_split
from worker.splits import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHARACTERS_AT_ONCE = 4_000_000
"""Of the texts that are tokenized in one call: each takes a few hundred bytes until its text is cut."""

_TOKENS_RECIPE = 2
"""Raised when the same text would be tokenized otherwise than before."""


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """Token ids of texts, without padding."""

    ids: tuple[Tensor, ...]
    """One int64 vector per text, special tokens included."""
    num_truncated: int
    """Texts that were cut."""

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.ids)


def tokenize(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_tokens: int) -> TokenizedTexts:
    """Tokenize texts as the backbone was trained to see them, special tokens included.

    Every backbone reads the beginning of a text that is too long, whatever its tokenizer says of cutting.

    Raises:
        DataError: A text gives no token.
    """
    tokenizer.truncation_side = "right"
    ids: list[Tensor] = []
    num_truncated = 0
    for some in _in_portions(texts):
        whole: list[list[int]] = _encode(tokenizer, some, truncation=False)
        too_long = [row for row, tokens in enumerate(whole) if len(tokens) > max_tokens]
        num_truncated += len(too_long)
        if too_long:
            cut = _encode(tokenizer, [some[row] for row in too_long], truncation=True, max_length=max_tokens)
            for row, tokens in zip(too_long, cut, strict=True):
                whole[row] = tokens
        if [] in whole:
            raise DataError(
                f"The text {some[whole.index([])][:100]!r} has no token for this backbone, which has no token of its "
                "own that begins or ends a text.",
                remedy="Remove it from the data set.",
            )
        ids += [torch.tensor(tokens) for tokens in whole]
    return TokenizedTexts(tuple(ids), num_truncated)


def _encode(tokenizer: "PreTrainedTokenizerBase", texts: list[str], **cutting: Any) -> list[list[int]]:  # noqa: ANN401 - the tokenizer's own
    """Return the token ids of texts; tokenizer.json may ask for padding and cutting, which are told here instead."""
    encoding = tokenizer(
        texts, padding=False, return_attention_mask=False, return_token_type_ids=False, verbose=False, **cutting
    )
    return list(encoding["input_ids"])


def _in_portions(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield all texts in lists of a bounded number of characters, or of one text."""
    portion: list[str] = []
    num_characters = 0
    for text in texts:
        if portion and num_characters + len(text) > CHARACTERS_AT_ONCE:
            yield portion
            portion, num_characters = [], 0
        portion.append(text)
        num_characters += len(text)
    if portion:
        yield portion


def check_ids(texts: TokenizedTexts, num_embeddings: int | None, source: str) -> None:
    """Refuse tokens that a backbone has no embedding for. Tokens that occur in no text do no harm.

    Args:
        texts: Of the data set.
        num_embeddings: Of the backbone; None if it has no such table.
        source: Of the backbone, as in the plan.

    Raises:
        BackboneError: A token's id is too large.
    """
    largest = max(int(ids.max()) for ids in texts.ids)
    if num_embeddings is not None and largest >= num_embeddings:
        raise BackboneError(
            f"The tokenizer of {source} gives the token {largest}, its embedding ends at {num_embeddings - 1}.",
            remedy="Save the tokenizer that the weights were trained with, or resize the embedding "
            "(resize_token_embeddings) and train it before.",
        )


def load_tokens(
    cache: Path,
    data: PreparedData,
    split: Split,
    max_tokens: int,
    *,
    tokenizer_revision: str,
    load_tokenizer: Callable[[], "PreTrainedTokenizerBase"],
) -> TokenizedTexts:
    """Return one split's tokens, from the cache if they were made before.

    Args:
        cache: Folder shared by all workers.
        data: Pinned data set.
        split: Of the data set.
        max_tokens: Tokens of a text that are kept.
        tokenizer_revision: Pins the tokenizer.
        load_tokenizer: Called only if the cache does not hold the tokens.
    """
    libraries = {name: version(name) for name in ("transformers", "tokenizers")}
    key = content_hash([_TOKENS_RECIPE, data.digest, split, tokenizer_revision, max_tokens, libraries])
    path = cache / "tokens" / f"{key}.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            lengths = file.get_tensor("lengths").tolist()
            ids = file.get_tensor("ids").to(torch.int64).split(lengths)
            return TokenizedTexts(tuple(ids), int(file.metadata()["num_truncated"]))
    except (FileNotFoundError, SafetensorError):
        pass
    texts = [example.text for example in load_split(cache, data, split)]
    tokens = tokenize(load_tokenizer(), texts, max_tokens)
    content = {
        "ids": torch.cat(tokens.ids).to(torch.int32),
        "lengths": torch.tensor([len(ids) for ids in tokens.ids], dtype=torch.int32),
    }
    write_file_atomically(path, save(content, {"num_truncated": str(tokens.num_truncated)}))
    return tokens
