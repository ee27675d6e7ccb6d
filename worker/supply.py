"""Supply: whether the examples of each class are enough for three splits, and how many would be. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from worker.contract.config import SplitSizes
from worker.contract.data_files import shorten_name
from worker.contract.errors import DataError

MAX_HELD_OUT_SHARE = 5
"""A held-out split that is drawn takes at most one in five of the examples it is drawn from."""

_DRAWN_IN_ORDER = ("test", "validation")
_NUM_NAMED = 5


@dataclass(frozen=True, slots=True)
class Supply:
    """Usable examples of each class, by the index of the class."""

    classes: Sequence[str]
    train: Mapping[int, int]
    """Those that train, and every split that the source does not give, are drawn from."""
    given: Mapping[str, Mapping[int, int]]
    """Those of each held-out split that the source gives."""

    @property
    def drawn(self) -> tuple[str, ...]:
        """Held-out splits that are drawn, in the order of the draws."""
        return tuple(split for split in _DRAWN_IN_ORDER if split not in self.given)

    def check(self, wanted: SplitSizes) -> None:
        """Refuse what cannot give three splits, of which train and all that are drawn hold every class.

        Raises:
            DataError: Names classes or splits, what they have and how much is needed.
        """
        if len(self.classes) < 2:  # noqa: PLR2004 - telling one class from none is no task
            raise DataError(
                f"The data set has {len(self.classes)} class(es) ({', '.join(map(shorten_name, self.classes))}).",
                remedy="Name the column that holds at least two classes as data.target_column.",
            )
        self._check_given()
        self._check_classes()
        self._check_sizes(wanted)
        self._check_total(wanted)

    def _check_given(self) -> None:
        for split, counts in self.given.items():
            if not counts:
                raise DataError(
                    f"The {split} split that the source gives has no usable example.",
                    remedy="Its texts may all stand in test too, or with another class. Give others, or leave it to be "
                    "drawn from train.",
                )

    def _check_classes(self) -> None:
        needed = 1 + len(self.drawn)
        short = [target for target in range(len(self.classes)) if self.train.get(target, 0) < needed]
        if not short:
            return
        shown = ", ".join(
            f"{shorten_name(self.classes[target])!r} ({self.train.get(target, 0)})" for target in short[:_NUM_NAMED]
        )
        more = f" and {len(short) - _NUM_NAMED} more" if len(short) > _NUM_NAMED else ""
        purpose = f" and to draw {' and '.join(self.drawn)} from" if self.drawn else ""
        raise DataError(
            f"There are too few examples of {shown}{more} to train on{purpose}: each class needs {needed}.",
            remedy="Give more examples of these classes, or leave the classes out; if they are no classes, name "
            "another column as data.target_column. A text counts once, and not at all if it has several classes.",
        )

    def _check_sizes(self, wanted: SplitSizes) -> None:
        needed = {"train": len(self.classes)} | dict.fromkeys(self.drawn, len(self.classes))
        needed |= {split: len(counts) for split, counts in self.given.items()}
        for split, num_classes in needed.items():
            size = getattr(wanted, split)
            if size < num_classes:
                raise DataError(
                    f"data.{split}_examples is {size}, which leaves out some of the {num_classes} classes.",
                    remedy=f"Set data.{split}_examples to at least {num_classes}.",
                )

    def _check_total(self, wanted: SplitSizes) -> None:
        num_examples = sum(self.train.values())
        if not self._is_enough(num_examples, wanted):
            needed = next(number for number in count(num_examples) if self._is_enough(number, wanted))
            raise DataError(
                f"The data set has {num_examples} usable examples to draw {' and '.join(self.drawn)} from; "
                f"for {len(self.classes)} classes at least {needed} are needed.",
                remedy=f"Give more examples: a drawn split takes one in {MAX_HELD_OUT_SHARE} at most, and holds every "
                "class.",
            )

    def _is_enough(self, num_examples: int, wanted: SplitSizes) -> bool:
        for split in self.drawn:
            size = num_drawn(num_examples, getattr(wanted, split))
            if size < len(self.classes):
                return False
            num_examples -= size
        return True


def num_drawn(num_examples: int, wanted: int) -> int:
    """Return the size of a held-out split that is drawn from so many examples."""
    return min(wanted, num_examples // MAX_HELD_OUT_SHARE)
