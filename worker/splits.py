"""Splits: disjoint, stratified, and the same for the same texts whatever their order. Pure."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from worker.contract.config import SplitSizes
from worker.supply import Supply, num_drawn

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
}
"""What a column of splits may say, in any case of letters."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text and the index of its class."""

    text: str
    target: int


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A text as its source has it: class by name, and the split it was published in, if any."""

    text: str
    class_name: str
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class SplitExamples:
    """The three disjoint splits of a data set, and what was left out on the way."""

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    num_train_available: int
    num_duplicates_dropped: int
    num_conflicts_dropped: int

    @property
    def sizes(self) -> SplitSizes:
        """Examples in each split."""
        return SplitSizes(train=len(self.train), validation=len(self.validation), test=len(self.test))

    def absent_classes(self, split: Split) -> tuple[str, ...]:
        """Return the classes without an example in a split; none in train, nor in a split that was drawn."""
        found = {example.target for example in getattr(self, split)}
        return tuple(name for target, name in enumerate(self.classes) if target not in found)

    @property
    def majority_accuracy(self) -> float:
        """Validation accuracy of always naming the train split's commonest class."""
        commonest = Counter(example.target for example in self.train).most_common(1)[0][0]
        return sum(example.target == commonest for example in self.validation) / len(self.validation)


def split_rows(rows: Iterable[SourceRow], classes: Sequence[str], wanted: SplitSizes, seed: int) -> SplitExamples:
    """Drop repeated texts, then hold out validation and test, then fix the train subset.

    A split that the source gives is kept as such; one that it lacks is drawn from the rest.

    Args:
        rows: In any order; the order does not change the result.
        classes: Class names in the order of their indices.
        wanted: Sizes at most; drawn held-out splits are also bounded by a fifth of what they are drawn from.
        seed: Chooses which examples are drawn.

    Raises:
        DataError: Fewer than two classes, or too few examples for three splits.
    """
    by_text: dict[str, list[SourceRow]] = defaultdict(list)
    given: set[Split | None] = set()
    for row in rows:
        by_text[row.text].append(row)
        given.add(row.split)
    kept, num_duplicates, num_conflicts = _one_row_per_text(by_text.values())
    index = {name: target for target, name in enumerate(classes)}
    pools: dict[Split | None, list[Example]] = defaultdict(list)
    for row in sorted(kept, key=lambda row: _draw_key(row.text, seed)):
        pools[row.split].append(Example(row.text, index[row.class_name]))
    rest = pools["train"] + pools[None]
    rest.sort(key=lambda example: _draw_key(example.text, seed))
    held_out = {split: pools[split] for split in SPLITS[1:] if split in given}
    counts: dict[str, Counter[int]] = {
        split: Counter(example.target for example in pool) for split, pool in held_out.items()
    }
    Supply(classes, Counter(example.target for example in rest), counts).check(wanted)
    test, rest = _hold_out(held_out.get("test"), rest, wanted.test)
    validation, rest = _hold_out(held_out.get("validation"), rest, wanted.validation)
    train, _ = take_stratified(rest, min(wanted.train, len(rest)))
    return SplitExamples(
        tuple(classes), tuple(train), tuple(validation), tuple(test), len(rest), num_duplicates, num_conflicts
    )


def take_stratified(pool: Sequence[Example], count: int) -> tuple[list[Example], list[Example]]:
    """Take ``count`` examples with the pool's class shares, the earliest of each class first.

    Shares are rounded by largest remainder; every class keeps at least one example where ``count`` allows.

    Returns:
        The examples taken and those left, each in the pool's order.
    """
    sizes = Counter(example.target for example in pool)
    exact = {target: count * size / len(pool) for target, size in sizes.items()}
    quota = {target: int(share) for target, share in exact.items()}
    by_remainder = sorted(exact, key=lambda target: (quota[target] - exact[target], target))
    for target in by_remainder[: count - sum(quota.values())]:
        quota[target] += 1
    for target in sorted(target for target, number in quota.items() if number == 0):
        largest = max(quota, key=lambda other: (quota[other], -other))
        if quota[largest] > 1:
            quota[largest] -= 1
            quota[target] += 1
    taken: list[Example] = []
    left: list[Example] = []
    for example in pool:
        if quota[example.target]:
            quota[example.target] -= 1
            taken.append(example)
        else:
            left.append(example)
    return taken, left


def _one_row_per_text(groups: Iterable[list[SourceRow]]) -> tuple[list[SourceRow], int, int]:
    """Keep one row of each text, a published held-out one first; drop texts that occur with several classes."""
    kept: list[SourceRow] = []
    num_duplicates = num_conflicts = 0
    for group in groups:
        if len({row.class_name for row in group}) > 1:
            num_conflicts += len(group)
            continue
        kept.append(max(group, key=lambda row: SPLITS.index(row.split) if row.split else -1))
        num_duplicates += len(group) - 1
    return kept, num_duplicates, num_conflicts


def _hold_out(given: list[Example] | None, rest: list[Example], wanted: int) -> tuple[list[Example], list[Example]]:
    if given is not None:
        return take_stratified(given, min(wanted, len(given)))[0], rest
    return take_stratified(rest, num_drawn(len(rest), wanted))


def _draw_key(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{text}".encode()).digest()
