"""The built-in data set: in which language are these three names? Made from the CLDR names that babel carries.

One example is three names (of languages, territories, scripts, currencies, variants, units) in one of four languages.
The splits differ by CLDR key, so that a thing named in train is never named in a held-out split, in any language; keys
that share a name stay together.
Chance is 0.25. Character n-grams with a linear classifier reach 0.99, so this data shows the machinery, not a need for
language models.

Source: Unicode CLDR display names (Unicode-3.0 licence) as packaged by babel.
"""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from babel import Locale

from worker.contract.config import SplitSizes
from worker.contract.errors import DataError
from worker.splits import SPLITS, SourceRow, Split

CLASSES = ("en", "fi", "fr", "pl")
NAMES_PER_EXAMPLE = 3
MAX_EXAMPLES = 40_000
"""Per split. Beyond this the same names recur so often that more examples bring nothing."""

_KINDS = ("languages", "territories", "scripts", "variants", "currency_names", "unit_display_names")
_HELD_OUT_SIXTHS: dict[int, Split] = {0: "validation", 1: "test"}


def load_language_names(wanted: SplitSizes, seed: int) -> Iterator[SourceRow]:
    """Draw distinct examples, as many of each language, in the sizes asked for.

    Args:
        wanted: Sizes; each is rounded down to a multiple of four.
        seed: Chooses which names meet in an example. Which names are held out is fixed.

    Raises:
        DataError: A split is larger than ``MAX_EXAMPLES`` or smaller than one example of each language.
    """
    for split in SPLITS:
        size = getattr(wanted, split)
        if not len(CLASSES) <= size <= MAX_EXAMPLES:
            raise DataError(
                f"builtin:language-names cannot give {size} {split} examples.",
                remedy=f"Set data.{split}_examples between {len(CLASSES)} and {MAX_EXAMPLES}.",
            )
    names = {language: dict(_names(language)) for language in CLASSES}
    split_by_key = _split_keys(names)
    spoken_in = Counter(name.casefold() for by_key in names.values() for name in set(by_key.values()))
    for language, by_key in names.items():
        by_split: dict[Split, set[str]] = defaultdict(set)
        for key, name in by_key.items():
            if spoken_in[name.casefold()] == 1:
                by_split[split_by_key[key]].add(name)
        for split in SPLITS:
            count = getattr(wanted, split) // len(CLASSES)
            draw = random.Random(f"{seed} {language} {split}")  # noqa: S311 - a reproducible draw, not a secret
            for text in _draw_texts(sorted(by_split[split]), count, draw):
                yield SourceRow(text, language, split)


def _names(language: str) -> Iterator[tuple[str, str]]:
    """Yield (CLDR key, name) pairs of one language."""
    data = Locale.parse(language)._data  # noqa: SLF001 - babel has no public way to list variants and unit names
    for kind in _KINDS:
        for key, name in data[kind].items():
            text = name if isinstance(name, str) else name.get("long")
            if text is not None:
                yield f"{kind}/{key}", text


def _split_keys(names: Mapping[str, Mapping[str, str]]) -> dict[str, Split]:
    """Hold out a third of the keys, half of them for each held-out split.

    Keys that share a name in any language ("Greek", the language and the script) go to the same split.
    """
    first_key: dict[str, str] = {}
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    for by_key in names.values():
        for key, name in by_key.items():
            one, other = sorted((find(key), find(first_key.setdefault(name.casefold(), key))))
            leader[other] = one
    return {key: _HELD_OUT_SIXTHS.get(hashlib.sha256(find(key).encode()).digest()[0] % 6, "train") for key in leader}


def _draw_texts(names: Sequence[str], count: int, draw: random.Random) -> list[str]:
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[", ".join(draw.sample(names, NAMES_PER_EXAMPLE))] = None
    return list(texts)
