"""Batches of tokenized texts that waste little on padding.

Shapes: ``B`` batch, ``T`` tokens.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from worker.tokens import TokenizedTexts

PAD_ID = 0
"""Fills batches. Padding is masked everywhere, so any token of the vocabulary will do, whatever the tokenizer says."""

MAX_PADDING = 256
"""Tokens of padding in a batch, at most: on a CPU, more than that costs more than a further batch does."""

_MAX_PADDING_SHARE = 1 / 16
"""Of a large batch: whoever asks for one has a device to which batches cost more than padding."""


Lengths = Sequence[int] | Mapping[int, int]
"""Tokens of each text, by its row."""


class Batch(NamedTuple):
    """Texts padded on the right to the longest among them."""

    rows: Tensor
    """Indices of the texts, ``[B]``."""
    ids_BT: Tensor
    mask_BT: Tensor
    """1 for a real token, 0 for padding."""


def pad(texts: TokenizedTexts, rows: Sequence[int]) -> Batch:
    """Put some texts into one batch, padded on the right."""
    ids_BT = torch.nn.utils.rnn.pad_sequence([texts.ids[row] for row in rows], batch_first=True, padding_value=PAD_ID)
    lengths_B1 = torch.tensor([len(texts.ids[row]) for row in rows]).unsqueeze(1)
    mask_BT = (torch.arange(ids_BT.shape[1]) < lengths_B1).to(torch.int64)
    return Batch(torch.tensor(rows), ids_BT, mask_BT)


def batches_by_length(texts: TokenizedTexts, tokens_per_batch: int) -> list[Batch]:
    """Cover all texts with batches of similar length: those of ``rows_by_length``."""
    return [pad(texts, rows) for rows in rows_by_length([len(ids) for ids in texts.ids], tokens_per_batch)]


def split_batch(texts: TokenizedTexts, rows: Sequence[int]) -> list[Batch]:
    """Divide a batch of texts of any lengths into the parts of ``split_rows``."""
    return [pad(texts, part) for part in split_rows({row: len(texts.ids[row]) for row in rows}, rows)]


def rows_by_length(lengths: Sequence[int], tokens_per_batch: int) -> list[list[int]]:
    """Divide all texts into batches of similar length, the longest first.

    A batch holds at most ``tokens_per_batch`` tokens, padding included, or one text. The longest come first, so that a
    device that is too small says so at once.

    Args:
        lengths: Of every text, in tokens.
        tokens_per_batch: Padded tokens per batch at most.

    Returns:
        The rows of each batch, the longest first.
    """
    max_padding = max(MAX_PADDING, int(tokens_per_batch * _MAX_PADDING_SHARE))
    return _cut(lengths, range(len(lengths)), tokens_per_batch, max_padding)


def split_rows(lengths: Lengths, rows: Iterable[int]) -> list[list[int]]:
    """Divide the rows of a batch into parts that are hardly padded, the longest first."""
    return _cut(lengths, rows, sys.maxsize, MAX_PADDING)


def _cut(lengths: Lengths, rows: Iterable[int], max_tokens: int, max_padding: int) -> list[list[int]]:
    parts: list[list[int]] = []
    longest = padding = 0
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        padding += longest - lengths[row]
        if not parts or padding > max_padding or (len(parts[-1]) + 1) * longest > max_tokens:
            parts.append([])
            longest, padding = lengths[row], 0
        parts[-1].append(row)
    return parts
