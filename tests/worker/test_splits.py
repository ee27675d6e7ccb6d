"""Splits: disjoint, stratified, bounded, and the same for the same texts."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.config import SplitSizes
from worker.contract.errors import DataError
from worker.splits import SPLITS, Example, SourceRow, Split, SplitExamples, split_rows, take_stratified

CLASSES = ("no", "yes", "perhaps")
ALL = SplitSizes(train=10_000, validation=10_000, test=10_000)


def make_rows(*sizes: int, split: Split | None = None, prefix: str = "text") -> list[SourceRow]:
    """So many distinct texts of each class."""
    return [
        SourceRow(f"{prefix} {name} {number}", name, split)
        for name, size in zip(CLASSES, sizes, strict=False)
        for number in range(size)
    ]


def texts_of(splits: SplitExamples, split: Split) -> set[str]:
    return {example.text for example in getattr(splits, split)}


def assert_disjoint(splits: SplitExamples) -> None:
    parts = [texts_of(splits, split) for split in SPLITS]
    assert len(set.union(*parts)) == sum(len(getattr(splits, split)) for split in SPLITS)


@given(
    sizes=st.lists(st.integers(10, 40), min_size=3, max_size=3),
    wanted=st.builds(SplitSizes, train=st.integers(3, 90), validation=st.integers(3, 30), test=st.integers(3, 30)),
    seed=st.integers(0, 2**31 - 1),
    shuffle=st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=60)
def test_splits_are_disjoint_stratified_and_independent_of_the_order_of_rows(
    sizes: list[int], wanted: SplitSizes, seed: int, shuffle: random.Random
) -> None:
    rows = make_rows(*sizes)
    splits = split_rows(rows, CLASSES, wanted, seed)
    shuffle.shuffle(rows)

    assert split_rows(rows, CLASSES, wanted, seed) == splits
    assert_disjoint(splits)
    assert len(splits.test) == min(wanted.test, sum(sizes) // 5)
    assert len(splits.validation) == min(wanted.validation, (sum(sizes) - len(splits.test)) // 5)
    assert len(splits.train) == min(wanted.train, splits.num_train_available)
    for split in SPLITS:
        examples = getattr(splits, split)
        counts = Counter(example.target for example in examples)
        # Each split is drawn from what the one before left, which is off by one at most: these add up.
        assert all(abs(counts[target] - len(examples) * size / sum(sizes)) < 3 for target, size in enumerate(sizes))


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.data())
@settings(deadline=None, max_examples=60)
def test_a_stratified_draw_keeps_the_shares_of_the_classes_within_one_example(
    sizes: list[int], draw: st.DataObject
) -> None:
    pool = [Example(f"{target} {number}", target) for target, size in enumerate(sizes) for number in range(size)]
    draw.draw(st.randoms(use_true_random=False)).shuffle(pool)
    count = draw.draw(st.integers(0, len(pool)))
    taken, left = take_stratified(pool, count)
    counts = Counter(example.target for example in taken)
    exact = {target: count * size / len(pool) for target, size in enumerate(sizes)}

    assert len(taken) == count
    assert sorted(taken + left, key=pool.index) == pool
    assert all(pool.index(a) < pool.index(b) for part in (taken, left) for a, b in pairwise(part))
    if all(share >= 1 for share in exact.values()):
        assert all(abs(counts[target] - share) < 1 for target, share in exact.items())
    if count >= len(sizes):
        assert all(counts[target] for target in exact)


def test_another_split_seed_holds_out_other_examples() -> None:
    rows = make_rows(40, 40)
    first, second = (split_rows(rows, CLASSES[:2], ALL, seed) for seed in (0, 1))

    assert texts_of(first, "test") != texts_of(second, "test")
    assert split_rows(rows, CLASSES[:2], ALL, 0) == first


def test_a_smaller_train_subset_is_a_part_of_a_larger_one_and_leaves_the_held_out_splits_alone() -> None:
    rows = make_rows(60, 40)
    small, large = (split_rows(rows, CLASSES[:2], ALL.model_copy(update={"train": size}), 0) for size in (10, 30))

    assert texts_of(small, "train") < texts_of(large, "train")
    assert (small.validation, small.test) == (large.validation, large.test)
    assert (len(small.train), small.num_train_available) == (10, large.num_train_available)


def test_repeated_texts_count_once_and_contradictory_ones_not_at_all() -> None:
    rows = make_rows(30, 30)
    repeated = [SourceRow("text no 3", "no")] * 2 + [SourceRow("text yes 4", "yes")]
    contradictory = [SourceRow("text no 5", "yes"), SourceRow("text yes 6", "no"), SourceRow("text yes 6", "no")]
    splits = split_rows(rows + repeated + contradictory, CLASSES[:2], ALL, 0)
    everything = [example for split in SPLITS for example in getattr(splits, split)]
    times = Counter(example.text for example in everything)

    assert (splits.num_duplicates_dropped, splits.num_conflicts_dropped) == (3, 5)
    assert len(everything) == 58
    assert (times["text no 3"], times["text yes 4"], times["text no 5"], times["text yes 6"]) == (1, 1, 0, 0)


def test_a_text_in_several_published_splits_stays_in_the_one_that_is_held_out_most() -> None:
    rows = make_rows(20, 20, split="train") + make_rows(5, 5, split="test", prefix="held out")
    rows += make_rows(5, 5, split="validation", prefix="scored")
    leaks = [SourceRow("text no 0", "no", "test"), SourceRow("text yes 1", "yes", "validation")]
    leaks += [SourceRow("scored no 2", "no", "test"), SourceRow("scored yes 0", "no", "train")]
    splits = split_rows(rows + leaks, CLASSES[:2], ALL, 0)

    assert_disjoint(splits)
    assert "text no 0" in texts_of(splits, "test")
    assert "text yes 1" in texts_of(splits, "validation")
    assert "scored no 2" in texts_of(splits, "test")
    assert "scored yes 0" not in set.union(*(texts_of(splits, split) for split in SPLITS))
    assert (splits.num_duplicates_dropped, splits.num_conflicts_dropped) == (3, 2)


def test_a_published_test_split_is_kept_and_validation_is_drawn_from_train() -> None:
    published = make_rows(6, 4, split="test", prefix="held out")
    splits = split_rows(make_rows(30, 20, split="train") + published, CLASSES[:2], ALL, 0)

    assert texts_of(splits, "test") == {row.text for row in published}
    assert len(splits.validation) == 10
    assert all(text.startswith("text") for text in texts_of(splits, "validation") | texts_of(splits, "train"))


def test_a_large_published_split_gives_as_many_examples_as_were_asked_for() -> None:
    published = make_rows(60, 40, split="test", prefix="held out")
    wanted = ALL.model_copy(update={"test": 10})
    splits = split_rows(make_rows(30, 20) + published, CLASSES[:2], wanted, 0)

    assert Counter(example.target for example in splits.test) == {0: 6, 1: 4}


@pytest.mark.parametrize(
    ("rows", "classes", "said"),
    [
        (make_rows(40), CLASSES[:1], r"1 class\(es\) \(no\)"),
        (
            make_rows(40, 40, 0),
            CLASSES,
            r"'perhaps' \(0\) to train on and to draw test and validation from: .* needs 3",
        ),
        (make_rows(40, 2), CLASSES[:2], r"too few examples of 'yes' \(2\)"),
        (make_rows(2, 2), CLASSES[:2], r"too few examples of 'no' \(2\), 'yes' \(2\)"),
        (make_rows(5, 5), CLASSES[:2], "has 10 usable examples to draw test and validation from; .* at least 12"),
        ([], CLASSES[:2], r"too few examples of 'no' \(0\), 'yes' \(0\)"),
        (
            make_rows(40, 1, split="train") + make_rows(5, 5, split="test", prefix="held out"),
            CLASSES[:2],
            r"'yes' \(1\) to train on and to draw validation from: each class needs 2",
        ),
        (
            [
                *make_rows(9, split="train"),
                *make_rows(1, 1, split="test", prefix="a"),
                SourceRow("b", "no", "validation"),
            ],
            CLASSES[:2],
            r"'yes' \(0\) to train on: each class needs 1",
        ),
    ],
)
def test_too_few_examples_of_a_class_are_an_error_that_says_how_many_are_needed(
    rows: Sequence[SourceRow], classes: Sequence[str], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        split_rows(rows, classes, ALL, 0)


@given(sizes=st.lists(st.integers(0, 12), min_size=2, max_size=3), given_test=st.booleans())
@settings(deadline=None, max_examples=100)
def test_data_is_either_refused_or_gives_splits_that_hold_every_class(sizes: list[int], *, given_test: bool) -> None:
    rows = make_rows(*sizes) + (make_rows(2, split="test", prefix="held out") if given_test else [])
    classes = CLASSES[: len(sizes)]
    try:
        splits = split_rows(rows, classes, ALL, 0)
    except DataError:
        assert min(sizes) < 3 or sum(sizes) < 7 * len(sizes)
        return
    assert splits.absent_classes("train") == splits.absent_classes("validation") == ()
    assert splits.absent_classes("test") == (classes[1:] if given_test else ())


def test_as_many_examples_as_the_message_asks_for_are_enough() -> None:
    assert split_rows(make_rows(6, 6), CLASSES[:2], ALL, 0).sizes == SplitSizes(train=8, validation=2, test=2)
    assert split_rows(make_rows(60, 3), CLASSES[:2], ALL, 0).absent_classes("train") == ()


@pytest.mark.parametrize("split", SPLITS)
def test_a_size_that_cannot_hold_every_class_is_an_error_that_names_the_setting(split: Split) -> None:
    wanted = ALL.model_copy(update={split: 2})
    own = [row for each in SPLITS for row in make_rows(9, 9, 9, split=each, prefix=each)]

    with pytest.raises(DataError, match=f"data.{split}_examples is 2, which leaves out some of the 3 classes"):
        split_rows(make_rows(40, 40, 40), CLASSES, wanted, 0)
    with pytest.raises(DataError, match=f"data.{split}_examples is 2"):
        split_rows(own, CLASSES, wanted, 0)


def test_a_given_split_may_lack_a_class() -> None:
    rows = make_rows(40, 40, split="train") + make_rows(5, split="test", prefix="held out")

    splits = split_rows(rows, CLASSES[:2], ALL, 0)

    assert [splits.absent_classes(split) for split in SPLITS] == [(), (), ("yes",)]


def test_a_given_split_of_which_nothing_is_left_is_an_error_and_not_drawn() -> None:
    rows = make_rows(40, 40, split="train") + make_rows(5, 5, split="test", prefix="held out")
    rows += make_rows(5, 5, split="validation", prefix="held out")

    with pytest.raises(DataError, match="The validation split that the source gives has no usable example"):
        split_rows(rows, CLASSES[:2], ALL, 0)


def test_ten_examples_of_each_class_are_enough_as_the_remedy_says() -> None:
    splits = split_rows(make_rows(10, 10, 10), CLASSES, ALL, 0)

    assert all({example.target for example in getattr(splits, split)} == {0, 1, 2} for split in SPLITS)


def test_majority_accuracy_is_that_of_always_naming_the_commonest_train_class() -> None:
    splits = SplitExamples(
        classes=CLASSES[:2],
        train=(Example("a", 1), Example("b", 1), Example("c", 0)),
        validation=(Example("d", 1), Example("e", 0), Example("f", 0), Example("g", 0)),
        test=(Example("h", 0),),
        num_train_available=3,
        num_duplicates_dropped=0,
        num_conflicts_dropped=0,
    )

    assert splits.majority_accuracy == 0.25
    assert splits.sizes == SplitSizes(train=3, validation=4, test=1)
