"""Clearly synthetic news in four classes, and a hub data set repository of it shaped like ``fancyzhx/ag_news``."""

import io
import random

import pyarrow as pa
from pyarrow import parquet

CLASS_NAMES = ("World", "Sports", "Business", "Sci/Tech")
"""In the order of the labels."""

WORDS_BY_CLASS = {
    "World": ("minister", "border", "treaty", "embassy", "election", "parliament", "summit", "ceasefire", "province"),
    "Sports": ("striker", "goal", "league", "coach", "stadium", "medal", "innings", "playoff", "referee"),
    "Business": ("shares", "profit", "merger", "quarter", "dividend", "retailer", "inflation", "lender", "invoice"),
    "Sci/Tech": ("software", "browser", "satellite", "genome", "server", "telescope", "chip", "protocol", "robot"),
}
"""Words that only texts of one class have."""

_COMMON_WORDS = ("today", "new", "after", "report", "says", "week", "plan", "early", "group", "first", "last")

_CARD = """---
language:
- en
task_categories:
- text-classification
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
{names}
  splits:
  - name: train
    num_bytes: {train_bytes}
    num_examples: {train_rows}
  - name: test
    num_bytes: {test_bytes}
    num_examples: {test_rows}
  download_size: {download_size}
  dataset_size: {dataset_size}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---

# Synthetic news

Word lists in random order, for tests.
"""


def synthetic_news(num_rows: int, seed: int) -> tuple[list[str], list[int]]:
    """Return texts of 8 to 14 words and their labels, classes in turn.

    A third of a text's words belong to its class, so that a linear head on random features already learns something.
    """
    generator = random.Random(seed)  # noqa: S311 - test data
    texts, labels = [], []
    for row in range(num_rows):
        label = row % len(CLASS_NAMES)
        num_words = generator.randint(8, 14)
        own = generator.choices(WORDS_BY_CLASS[CLASS_NAMES[label]], k=num_words // 3)
        words = own + generator.choices(_COMMON_WORDS, k=num_words - len(own))
        generator.shuffle(words)
        texts.append(f"{' '.join(words).capitalize()} {row}.")
        labels.append(label)
    return texts, labels


def ag_news_like(num_rows: int, seed: int) -> dict[str, bytes]:
    """Return the files of a data set repository shaped like ``fancyzhx/ag_news``, by path.

    Columns, class names, split names and file names are those of the original; every text is distinct.

    Args:
        num_rows: Train rows; the test split has a quarter of it, at least four.
        seed: Of the texts.
    """
    test_rows = max(4, num_rows // 4)
    texts, labels = synthetic_news(num_rows + test_rows, seed)
    train, test = _parquet(texts[:num_rows], labels[:num_rows]), _parquet(texts[num_rows:], labels[num_rows:])
    num_bytes = [sum(len(text.encode()) + 4 + 8 for text in part) for part in (texts[:num_rows], texts[num_rows:])]
    card = _CARD.format(
        names="\n".join(f"          '{index}': {name}" for index, name in enumerate(CLASS_NAMES)),
        train_bytes=num_bytes[0],
        train_rows=num_rows,
        test_bytes=num_bytes[1],
        test_rows=test_rows,
        download_size=len(train) + len(test),
        dataset_size=sum(num_bytes),
    )
    return {
        "README.md": card.encode(),
        "data/train-00000-of-00001.parquet": train,
        "data/test-00000-of-00001.parquet": test,
    }


def _parquet(texts: list[str], labels: list[int]) -> bytes:
    table = pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.int64())})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()
