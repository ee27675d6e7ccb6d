"""Which batches an arm will see, from the lengths of its texts alone.

Shapes: ``N`` texts of a split, ``S`` steps, ``B`` batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from worker.batches import rows_by_length, split_rows
from worker.body import load_tokenizer
from worker.contract.config import PreparedBackbone, PreparedData
from worker.contract.estimate import BatchShape, DeviceKind
from worker.contract.plan import DataSpec, Seeds, TrainingSettings
from worker.data import load_split
from worker.schedule import batch_rows
from worker.splits import SPLITS, Split
from worker.tokens import TokenizedTexts, load_tokens, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class TextLengths:
    """How many tokens each text has."""

    by_split: Mapping[Split, Tensor]
    """``[N]`` of each split, int64."""
    origin: Literal["tokens", "max_tokens"]
    """Whether the texts were tokenized, or each taken for one of ``max_tokens``."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Every batch that an arm will see."""

    forward: Mapping[Split, Sequence[BatchShape]]
    """Of each split, when its texts only pass forward."""
    updates: Sequence[BatchShape]
    """Of all updates of all seeds of a live arm, with one candidate."""

    def forward_of(self, *splits: Split) -> list[BatchShape]:
        """Return the batches of some splits."""
        return [shape for split in splits for shape in self.forward[split]]


def plan_batches(
    lengths: TextLengths, settings: TrainingSettings, seeds: Seeds, tokens_per_batch: int, device: DeviceKind
) -> Batches:
    """Find the batches of an arm.

    Args:
        lengths: Of the texts.
        settings: The shared conditions.
        seeds: Each orders the examples in its way.
        tokens_per_batch: Padded tokens per batch at most, where texts only pass forward.
        device: What trains; a CPU takes the batch of an update in parts.
    """
    forward = {split: forward_shapes(lengths_N, tokens_per_batch) for split, lengths_N in lengths.by_split.items()}
    train_N = lengths.by_split["train"]
    return Batches(forward, [shape for seed in seeds for shape in training_shapes(train_N, settings, seed, device)])


def forward_shapes(lengths_N: Tensor, tokens_per_batch: int) -> list[BatchShape]:
    """Return the batches in which texts only pass forward."""
    lengths = lengths_N.tolist()
    return [_shape(lengths, rows) for rows in rows_by_length(lengths, tokens_per_batch)]


def training_shapes(lengths_N: Tensor, settings: TrainingSettings, seed: int, device: DeviceKind) -> list[BatchShape]:
    """Return what passes through a live model at once, update after update."""
    lengths = lengths_N.tolist()
    batches: list[list[int]] = batch_rows(len(lengths), settings.batch_size, settings.steps, seed).tolist()
    if device == "cpu":
        batches = [part for rows in batches for part in split_rows(lengths, rows)]
    return [_shape(lengths, rows) for rows in batches]


def _shape(lengths: Sequence[int], rows: Sequence[int]) -> BatchShape:
    return BatchShape(num_texts=len(rows), num_tokens=max(lengths[row] for row in rows))


def largest_batch(shapes: Sequence[BatchShape]) -> BatchShape:
    """Return the batch that takes most memory: of equally many tokens the one of longer texts, for their attention."""
    return max(shapes, key=lambda shape: (shape.num_texts * shape.num_tokens, shape.num_tokens))


def load_text_lengths(
    cache: Path, data: PreparedData, backbone: PreparedBackbone, max_tokens: int, *, keep: bool
) -> TextLengths:
    """Return the lengths of a prepared data set's texts.

    Args:
        cache: Folder shared by all workers.
        data: Pinned data set.
        backbone: Whose tokenizer counts.
        max_tokens: Tokens of a text that are read.
        keep: Whether tokens that are not in the cache are put there, for the arms to come.

    Raises:
        BackboneError: It has no tokenizer that can be loaded.
        DataError: A text has no token.
    """
    load: Callable[[], PreTrainedTokenizerBase] = partial(load_tokenizer, cache, backbone)
    find = partial(load_tokens, cache, data, max_tokens=max_tokens, tokenizer_revision=backbone.revision)

    def read(split: Split) -> TokenizedTexts:
        if keep:
            return find(split=split, load_tokenizer=load)
        try:
            return find(split=split, load_tokenizer=_leave)
        except _NotKeptError:
            return tokenize(load(), [example.text for example in load_split(cache, data, split)], max_tokens)

    return TextLengths(
        {split: torch.tensor([len(ids) for ids in read(split).ids]) for split in SPLITS}, origin="tokens"
    )


def assume_text_lengths(spec: DataSpec, max_tokens: int) -> TextLengths:
    """Take every text that a plan asks for to be as long as is read of one: an upper bound."""
    counts: dict[Split, int] = {
        "train": spec.train_examples,
        "validation": spec.validation_examples,
        "test": spec.test_examples,
    }
    return TextLengths({split: torch.full((count,), max_tokens) for split, count in counts.items()}, "max_tokens")


class _NotKeptError(Exception):
    """The cache does not hold the tokens."""


def _leave() -> "PreTrainedTokenizerBase":
    raise _NotKeptError
