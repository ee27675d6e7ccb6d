"""Tokens: each text tokenized once, and batches that waste little on padding.

Shapes: ``B`` batch, ``T`` tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from worker.contract.config import PreparedData
from worker.contract.errors import DataError
from worker.contract.records import content_hash
from worker.contract.store import write_file_atomically
from worker.data import load_split
from worker.splits import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD_ID = 0
"""Fills batches. Padding is masked everywhere, so any token of the vocabulary will do, whatever the tokenizer says."""

_TOKENS_RECIPE = 1
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


class Batch(NamedTuple):
    """Texts padded on the right to the longest among them."""

    rows: Tensor
    """Indices of the texts, ``[B]``."""
    ids_BT: Tensor
    mask_BT: Tensor
    """1 for a real token, 0 for padding."""


def tokenize(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], max_tokens: int) -> TokenizedTexts:
    """Tokenize texts as the backbone was trained to see them, special tokens included.

    Raises:
        DataError: A text gives no token.
    """
    ids: list[list[int]] = tokenizer(list(texts), verbose=False)["input_ids"]
    too_long = [row for row, tokens in enumerate(ids) if len(tokens) > max_tokens]
    if too_long:
        cut = tokenizer([texts[row] for row in too_long], truncation=True, max_length=max_tokens)["input_ids"]
        for row, tokens in zip(too_long, cut, strict=True):
            ids[row] = tokens
    for row, tokens in enumerate(ids):
        if not tokens:
            raise DataError(f"The text {texts[row]!r} has no token.", remedy="Remove it from the data set.")
    return TokenizedTexts(tuple(torch.tensor(tokens) for tokens in ids), len(too_long))


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
    key = content_hash([_TOKENS_RECIPE, data.digest, split, tokenizer_revision, max_tokens])
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


def pad(texts: TokenizedTexts, rows: Sequence[int]) -> Batch:
    """Put some texts into one batch, padded on the right."""
    ids_BT = torch.nn.utils.rnn.pad_sequence([texts.ids[row] for row in rows], batch_first=True, padding_value=PAD_ID)
    lengths_B1 = torch.tensor([len(texts.ids[row]) for row in rows]).unsqueeze(1)
    mask_BT = (torch.arange(ids_BT.shape[1]) < lengths_B1).to(torch.int64)
    return Batch(torch.tensor(rows), ids_BT, mask_BT)


def batches_by_length(texts: TokenizedTexts, tokens_per_batch: int) -> list[Batch]:
    """Cover all texts with batches of similar length, the longest first.

    A batch holds at most ``tokens_per_batch`` tokens, padding included, or one text. The longest come first, so that a
    device that is too small says so at once.
    """
    by_length = sorted(range(len(texts)), key=lambda row: (-len(texts.ids[row]), row))
    batches: list[Batch] = []
    while by_length:
        count = max(1, tokens_per_batch // len(texts.ids[by_length[0]]))
        batches.append(pad(texts, by_length[:count]))
        by_length = by_length[count:]
    return batches
