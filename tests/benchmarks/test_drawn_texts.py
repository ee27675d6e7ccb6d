"""The texts of the decoder's work: as long as they are said to be."""

import csv
import math
from io import StringIO
from statistics import median, stdev

from benchmarks.drawn_texts import draw_csv, make_tokenizer
from benchmarks.works import DECODER, DrawnTexts
from worker.tokens import tokenize


def rows(texts: DrawnTexts, vocabulary_size: int = 49152) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(draw_csv(texts, vocabulary_size))))


def test_lengths_are_log_normal_and_a_few_are_cut() -> None:
    assert isinstance(DECODER.data, DrawnTexts)
    drawn = [row["text"] for row in rows(DECODER.data)]
    tokens = tokenize(make_tokenizer(49152), drawn, max_tokens=100_000)
    lengths = [len(ids) for ids in tokens.ids]

    assert lengths == [len(text.split()) for text in drawn]
    assert abs(median(lengths) - 48) <= 2
    assert abs(stdev(map(math.log, lengths)) - 0.6) < 0.03
    assert 0 < sum(length > DECODER.training.max_tokens for length in lengths) < 0.01 * len(lengths)


def test_texts_are_distinct_and_of_the_sizes_asked_for() -> None:
    drawn = rows(DrawnTexts(num_train=300, num_validation=40, median_tokens=2), vocabulary_size=200)

    assert len({row["text"] for row in drawn}) == 342
    assert [row["split"] for row in drawn] == ["train"] * 300 + ["validation"] * 40 + ["test"] * 2
    assert {row["label"] for row in drawn if row["split"] == "test"} == {"north", "south"}


def test_the_same_texts_are_drawn_each_time() -> None:
    texts = DrawnTexts(num_train=20, num_validation=4)

    assert draw_csv(texts, 1000) == draw_csv(texts, 1000)


def test_every_word_is_known_to_the_tokenizer() -> None:
    tokenizer = make_tokenizer(600)
    drawn = [row["text"] for row in rows(DrawnTexts(num_train=200, num_validation=4), vocabulary_size=600)]

    ids = {token for text in drawn for token in tokenizer(text)["input_ids"]}

    assert tokenizer.unk_token_id not in ids
    assert max(ids) < 600
