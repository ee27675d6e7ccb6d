"""Batches that are known before there are texts: the very ones that an arm will see.

Shapes: ``N`` texts, ``S`` steps, ``B`` batch.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from worker.arm_data import load_arm_tokens
from worker.batches import batches_by_length, pad, split_batch
from worker.contract.arms import Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.contract.estimate import BatchShape, DeviceKind
from worker.contract.plan import DataSpec, TrainingSettings
from worker.estimate_batches import (
    assume_text_lengths,
    forward_shapes,
    largest_batch,
    load_text_lengths,
    training_shapes,
)
from worker.schedule import batch_rows
from worker.splits import SPLITS
from worker.tokens import TokenizedTexts


def texts_of(*lengths: int) -> TokenizedTexts:
    return TokenizedTexts(tuple(torch.ones(length, dtype=torch.int64) for length in lengths), 0)


@pytest.mark.parametrize("tokens_per_batch", [1, 7, 64, 10_000])
def test_forward_batches_are_those_of_the_worker(tokens_per_batch: int) -> None:
    lengths_N = torch.randint(1, 40, (57,), generator=torch.Generator().manual_seed(0))
    real = batches_by_length(texts_of(*lengths_N.tolist()), tokens_per_batch)

    shapes = forward_shapes(lengths_N, tokens_per_batch)

    assert [(shape.num_texts, shape.num_tokens) for shape in shapes] == [tuple(batch.ids_BT.shape) for batch in real]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_training_batches_are_those_of_the_worker(device: DeviceKind) -> None:
    lengths_N = torch.randint(1, 400, (57,), generator=torch.Generator().manual_seed(0))
    texts, settings = texts_of(*lengths_N.tolist()), TrainingSettings(steps=20, batch_size=8)
    batches = batch_rows(57, 8, 20, seed=3).tolist()
    parts = [split_batch(texts, rows) if device == "cpu" else [pad(texts, rows)] for rows in batches]

    shapes = training_shapes(lengths_N, settings, 3, device)

    assert [(shape.num_texts, shape.num_tokens) for shape in shapes] == [
        tuple(part.ids_BT.shape) for of_update in parts for part in of_update
    ]


def test_the_largest_batch_has_most_tokens_and_of_equals_the_longest_texts() -> None:
    small, wide, long = (BatchShape(num_texts=texts, num_tokens=tokens) for texts, tokens in ((1, 30), (8, 4), (4, 8)))

    assert largest_batch([small, wide, long]) == long
    assert largest_batch([small, wide]) == wide


def test_lengths_are_those_of_the_tokens_that_arms_read(
    make_config: Callable[..., RunConfig], cache: Path, data: PreparedData, backbone: PreparedBackbone
) -> None:
    config = make_config(Mode.FROZEN, max_tokens=20)

    lengths = load_text_lengths(cache, data, backbone, 20, keep=False)

    assert lengths.origin == "tokens"
    for split in SPLITS:
        assert lengths.by_split[split].tolist() == [len(ids) for ids in load_arm_tokens(config, split).ids]


@pytest.mark.parametrize(("keep", "num_files"), [(True, len(SPLITS)), (False, 0)])
def test_tokens_are_kept_for_arms_only_if_that_is_wanted(
    cache: Path, data: PreparedData, backbone: PreparedBackbone, *, keep: bool, num_files: int
) -> None:
    max_tokens = 21 if keep else 22  # that no other test reads
    before = set((cache / "tokens").glob("*"))

    load_text_lengths(cache, data, backbone, max_tokens, keep=keep)

    assert len(set((cache / "tokens").glob("*")) - before) == num_files


def test_without_data_every_text_of_the_plan_has_as_many_tokens_as_are_read() -> None:
    lengths = assume_text_lengths(DataSpec(source="news.csv", train_examples=5, test_examples=3), max_tokens=9)

    assert lengths.origin == "max_tokens"
    assert lengths.by_split["train"].tolist() == [9] * 5
    assert {split: len(lengths_N) for split, lengths_N in lengths.by_split.items()} == {
        "train": 5,
        "validation": 512,
        "test": 3,
    }
