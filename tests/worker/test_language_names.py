"""The built-in data set: what a name in train says about a name that is held out."""

from collections import Counter
from itertools import combinations

import pytest

from worker.contract.config import SplitSizes
from worker.contract.errors import DataError
from worker.language_names import CLASSES, MAX_EXAMPLES, NAMES_PER_EXAMPLE, load_language_names
from worker.splits import SPLITS, SourceRow

SIZES = SplitSizes(train=4000, validation=800, test=800)


@pytest.fixture(scope="module")
def rows() -> list[SourceRow]:
    return list(load_language_names(SIZES, seed=0))


def names_of(row: SourceRow) -> list[str]:
    return [name.casefold() for name in row.text.split(", ")]


def test_the_languages_are_fixed() -> None:
    assert CLASSES == ("en", "fi", "fr", "pl")


def test_no_name_of_one_split_occurs_in_another_whatever_the_seeds(rows: list[SourceRow]) -> None:
    drawn = [*rows, *load_language_names(SIZES, seed=1)]
    names = {split: {name for row in drawn if row.split == split for name in names_of(row)} for split in SPLITS}

    assert {pair: sorted(names[pair[0]] & names[pair[1]]) for pair in combinations(SPLITS, 2)} == {
        ("train", "validation"): [],
        ("train", "test"): [],
        ("validation", "test"): [],
    }


def test_no_name_occurs_in_two_languages(rows: list[SourceRow]) -> None:
    languages: dict[str, set[str]] = {}
    for row in rows:
        for name in names_of(row):
            languages.setdefault(name, set()).add(row.class_name)

    assert {name: sorted(spoken) for name, spoken in languages.items() if len(spoken) > 1} == {}


def test_examples_are_distinct_and_each_holds_three_different_names(rows: list[SourceRow]) -> None:
    assert len({row.text for row in rows}) == len(rows)
    assert all(len(set(names_of(row))) >= NAMES_PER_EXAMPLE for row in rows)


def test_every_split_has_as_many_examples_of_each_language(rows: list[SourceRow]) -> None:
    counts = Counter((row.split, row.class_name) for row in rows)

    assert counts == {
        (split, language): getattr(SIZES, split) // len(CLASSES) for split in SPLITS for language in CLASSES
    }


def test_equal_seeds_draw_equal_examples_and_others_other_ones(rows: list[SourceRow]) -> None:
    assert list(load_language_names(SIZES, seed=0)) == rows
    assert not {row.text for row in load_language_names(SIZES, seed=1)} & {row.text for row in rows}


@pytest.mark.parametrize(("split", "size"), [("train", 3), ("validation", 2), ("test", 1), ("train", MAX_EXAMPLES + 1)])
def test_a_size_that_it_cannot_give_is_an_error_that_names_the_setting(split: str, size: int) -> None:
    with pytest.raises(DataError, match=f"Set data.{split}_examples between 4 and {MAX_EXAMPLES}"):
        list(load_language_names(SIZES.model_copy(update={split: size}), seed=0))
