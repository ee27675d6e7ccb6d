"""Texts of random words with log-normal lengths, and the tokenizer that makes one token of each word."""

import csv
import random
from collections.abc import Iterator
from io import StringIO

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from benchmarks.works import DrawnTexts

CLASSES = ("north", "south")
_OWN_WORDS = 64
"""Words that only texts of one class have."""
_OWN_SHARE = 0.2
"""Of a text's words: enough for a head to find, so that curves rise."""
_SPECIAL = ("[PAD]", "[UNK]")


def draw_csv(texts: DrawnTexts, vocabulary_size: int) -> str:
    """Return the texts as a CSV with the columns text, label and split; the same for the same arguments."""
    draw = random.Random(0)  # noqa: S311 - reproducible texts, not a secret
    sizes = {"train": texts.num_train, "validation": texts.num_validation, "test": texts.num_test}
    file = StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("text", "label", "split"))
    seen: set[str] = set()
    for split, size in sizes.items():
        for number in range(size):
            target = number % len(CLASSES)
            text = next(text for text in _texts(draw, texts, target, vocabulary_size) if text not in seen)
            seen.add(text)
            rows.writerow((text, CLASSES[target], split))
    return file.getvalue()


def _texts(draw: random.Random, texts: DrawnTexts, target: int, vocabulary_size: int) -> Iterator[str]:
    """Yield texts of one class without end."""
    shared = range(len(_SPECIAL) + len(CLASSES) * _OWN_WORDS, vocabulary_size)
    own = range(len(_SPECIAL) + target * _OWN_WORDS, len(_SPECIAL) + (target + 1) * _OWN_WORDS)
    while True:
        length = max(1, round(texts.median_tokens * draw.lognormvariate(0, texts.sigma)))
        yield " ".join(f"w{draw.choice(own if draw.random() < _OWN_SHARE else shared)}" for _ in range(length))


def make_tokenizer(vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer that knows the words of the texts: a text has as many tokens as words."""
    vocabulary = {word: index for index, word in enumerate(_SPECIAL)}
    vocabulary |= {f"w{index}": index for index in range(len(_SPECIAL), vocabulary_size)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_SPECIAL[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=_SPECIAL[0], unk_token=_SPECIAL[1])
