"""Batches: every text once, and little padding."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.batches import MAX_PADDING, Batch, batches_by_length, pad, split_batch
from worker.tokens import TokenizedTexts

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=60)


def make_texts(lengths: list[int]) -> TokenizedTexts:
    return TokenizedTexts(tuple(torch.arange(1, length + 1) for length in lengths), num_truncated=0)


def rows_of(batches: list[Batch]) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


def num_padding(batch: Batch) -> int:
    return int((batch.mask_BT == 0).sum())


def test_a_batch_is_padded_on_the_right_and_masked_there() -> None:
    batch = pad(make_texts([2, 4, 1]), [2, 1])

    assert batch.rows.tolist() == [2, 1]
    assert batch.ids_BT.tolist() == [[1, 0, 0, 0], [1, 2, 3, 4]]
    assert batch.mask_BT.tolist() == [[1, 0, 0, 0], [1, 1, 1, 1]]


@given(LENGTHS, st.integers(1, 2000))
@settings(deadline=None, max_examples=60)
def test_batches_cover_every_text_once_within_the_bounds_and_the_longest_first(
    lengths: list[int], tokens_per_batch: int
) -> None:
    batches = batches_by_length(make_texts(lengths), tokens_per_batch)
    rows = rows_of(batches)

    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)
    for batch in batches:
        assert batch.ids_BT.numel() <= tokens_per_batch or len(batch.rows) == 1
        assert num_padding(batch) <= MAX_PADDING
        assert batch.mask_BT.sum(dim=1).tolist() == [lengths[row] for row in batch.rows.tolist()]


def test_a_batch_is_as_full_as_it_may_be() -> None:
    assert [len(batch.rows) for batch in batches_by_length(make_texts([10] * 7), 30)] == [3, 3, 1]


def test_large_batches_may_have_a_sixteenth_of_padding() -> None:
    texts = make_texts([100] * 50 + [90] * 100)  # in one batch: 1,000 tokens of padding

    assert [num_padding(batch) for batch in batches_by_length(texts, 16_000)] == [1000]
    assert max(num_padding(batch) for batch in batches_by_length(texts, 8_000)) <= 500


@given(LENGTHS, st.data())
@settings(deadline=None, max_examples=60)
def test_the_parts_of_a_batch_are_its_rows_with_little_padding(lengths: list[int], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=40))
    parts = split_batch(make_texts(lengths), chosen)

    assert sorted(rows_of(parts)) == sorted(chosen)
    assert all(num_padding(part) <= MAX_PADDING for part in parts)


def test_a_batch_of_similar_texts_stays_whole() -> None:
    assert [part.rows.tolist() for part in split_batch(make_texts([50, 52, 48, 50]), [3, 1, 0, 2])] == [[1, 0, 3, 2]]
