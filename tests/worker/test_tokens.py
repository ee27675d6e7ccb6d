"""Tokens: what each text becomes, once, and batches that cover all texts."""

from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from transformers import CTRLTokenizer, PreTrainedTokenizerBase

from tiny_tokenizers import make_tokenizer
from worker.contract.config import PreparedData
from worker.contract.errors import BackboneError, DataError
from worker.data import load_split
from worker.pretrain import byte_tokenizer
from worker.tokens import TokenizedTexts, check_ids, load_tokens, tokenize

TEXTS = ["New treaty", "Striker scores a goal in the last minute of the league", "Profit"]


def make_texts(lengths: list[int]) -> TokenizedTexts:
    return TokenizedTexts(tuple(torch.arange(1, length + 1) for length in lengths), num_truncated=0)


def refuse_to_load() -> NoReturn:
    pytest.fail("the tokenizer was loaded although the tokens are in the cache")


@pytest.mark.parametrize(
    ("architecture", "first"),
    [("llama", "<|begin_of_text|>"), ("mistral", "<s>"), ("gemma3", "<bos>"), ("qwen3", None)],
)
def test_a_text_begins_as_the_backbone_was_trained_to_see_it(architecture: str, first: str | None) -> None:
    tokenizer = make_tokenizer(architecture)
    tokens = tokenize(tokenizer, TEXTS, max_tokens=48)
    whole = [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens.ids]
    begins = [tokenizer.convert_ids_to_tokens(int(ids[0])) for ids in tokens.ids]

    assert whole == TEXTS
    assert all(begin == first if first else begin not in tokenizer.all_special_tokens for begin in begins)
    assert tokens.num_truncated == 0
    assert {ids.dtype for ids in tokens.ids} == {torch.int64}


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_long_texts_are_cut_on_the_right_and_counted(architecture: str) -> None:
    tokenizer = make_tokenizer(architecture)
    whole, cut = tokenize(tokenizer, TEXTS, 100), tokenize(tokenizer, TEXTS, 10)

    assert cut.num_truncated == sum(len(ids) > 10 for ids in whole.ids) > 0
    assert all(torch.equal(short, long[:10]) for short, long in zip(cut.ids, whole.ids, strict=True))


def test_cutting_keeps_the_end_token_of_a_tokenizer_that_has_one() -> None:
    tokens = tokenize(byte_tokenizer(), ["abcdefgh", "abc"], max_tokens=4)

    assert [len(ids) for ids in tokens.ids] == [4, 4]
    assert [int(ids[-1]) for ids in tokens.ids] == [1, 1]
    assert tokens.num_truncated == 1


def test_a_text_that_gives_no_token_is_an_error_that_shows_it() -> None:
    with pytest.raises(DataError, match="The text '' has no token"):
        tokenize(make_tokenizer("qwen3"), ["Profit", ""], max_tokens=8)


def test_the_beginning_of_a_text_is_read_whatever_the_tokenizer_says_of_cutting() -> None:
    tokenizer = make_tokenizer("llama")
    tokenizer.truncation_side, tokenizer.model_max_length = "left", 6
    whole, cut = tokenize(tokenizer, TEXTS, 100), tokenize(tokenizer, TEXTS, 10)

    assert max(map(len, whole.ids)) > 10
    assert whole.num_truncated == 0
    assert all(torch.equal(short, long[:10]) for short, long in zip(cut.ids, whole.ids, strict=True))


ODD_TEXTS = [
    "\0",
    "a\0b",
    "\U0001f642" * 3,
    "\u05e9\u05dc\u05d5\u05dd \u0639\u0627\u0644\u0645",
    "\u202eabc\u202c",
    "\r\n \t",
    "\ufffd",
]


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "mistral", "gemma3", "bert", "roberta"])
def test_every_text_has_tokens_of_the_vocabulary(architecture: str) -> None:
    tokenizer = make_tokenizer(architecture)
    tokens = tokenize(tokenizer, ODD_TEXTS, max_tokens=64)
    portion = tokenize(tokenizer, [*TEXTS, *ODD_TEXTS], max_tokens=64)

    assert all(0 <= int(ids.min()) <= int(ids.max()) < len(tokenizer) for ids in tokens.ids)
    assert all(torch.equal(ids, other) for ids, other in zip(tokens.ids, portion.ids[len(TEXTS) :], strict=True))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("architecture", "text", "num_truncated"),
    [
        ("mistral", "a" * 1_000_000, 1),
        ("qwen3", "goal " * 200_000, 1),
        ("bert", " " * 999_999 + "x", 0),
    ],
    ids=["one word", "many words", "spaces"],
)
def test_a_text_of_a_million_characters_is_cut_like_any_other(architecture: str, text: str, num_truncated: int) -> None:
    tokenizer = make_tokenizer(architecture)
    tokens = tokenize(tokenizer, ["Profit", text, "goal"], max_tokens=16)

    assert max(map(len, tokens.ids)) <= 16
    assert tokens.num_truncated == num_truncated
    assert torch.equal(tokens.ids[2], tokenize(tokenizer, ["goal"], max_tokens=16).ids[0])


def test_no_more_than_a_bounded_number_of_characters_is_tokenized_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    tokenizer = make_tokenizer("llama")

    class Listening(type(tokenizer)):  # type: ignore[misc] # known when it runs
        def __call__(self, texts: list[str], **options: Any) -> Any:  # noqa: ANN401 - the tokenizer's own
            asked.append(texts)
            return super().__call__(texts, **options)

    tokenizer.__class__ = Listening
    monkeypatch.setattr("worker.tokens.CHARACTERS_AT_ONCE", 20)
    texts = ["goal", "x" * 50, "", "Profit now", "New treaty", "a", "b"]
    tokens = tokenize(tokenizer, texts, 100)

    assert asked == [["goal"], ["x" * 50], ["", "Profit now", "New treaty"], ["a", "b"]]
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens.ids] == texts


def test_a_tokenizer_written_in_python_does_as_well(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"<unk>": 0, "a": 1, "b": 2, "ab": 3}', "utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n", "utf-8")
    slow = CTRLTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    tokens = tokenize(slow, ["a b ab", "ab ab ab ab c"], max_tokens=4)

    assert not slow.is_fast
    assert [ids.tolist() for ids in tokens.ids] == [[1, 2, 3], [3, 3, 3, 3]]
    assert tokens.num_truncated == 1


def test_a_token_that_the_backbone_has_no_embedding_for_is_refused_with_the_numbers() -> None:
    texts = make_texts([3, 9])
    check_ids(texts, 10, "acme/base")
    check_ids(texts, None, "acme/base")

    with pytest.raises(BackboneError) as caught:
        check_ids(texts, 9, "acme/base")
    assert caught.value.problem == "The tokenizer of acme/base gives the token 9, its embedding ends at 8."
    assert "resize_token_embeddings" in caught.value.remedy


def test_tokens_are_made_once(tmp_path: Path, cache: Path, data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(cache / "data")
    loaded: list[PreTrainedTokenizerBase] = []

    def load_tokenizer() -> PreTrainedTokenizerBase:
        loaded.append(make_tokenizer("qwen3"))
        return loaded[-1]

    made = load_tokens(tmp_path, data, "test", 16, tokenizer_revision="r", load_tokenizer=load_tokenizer)
    read = load_tokens(tmp_path, data, "test", 16, tokenizer_revision="r", load_tokenizer=refuse_to_load)
    expected = tokenize(loaded[0], [example.text for example in load_split(cache, data, "test")], 16)

    assert made.num_truncated == read.num_truncated == expected.num_truncated > 0
    assert len(made) == len(read) == 40
    for tokens in (made, read):
        assert all(torch.equal(ids, other) for ids, other in zip(tokens.ids, expected.ids, strict=True))
    assert {ids.dtype for ids in read.ids} == {torch.int64}
    load_tokens(tmp_path, data, "test", 17, tokenizer_revision="r", load_tokenizer=load_tokenizer)
    load_tokens(tmp_path, data, "test", 16, tokenizer_revision="s", load_tokenizer=load_tokenizer)
    load_tokens(tmp_path, data, "validation", 16, tokenizer_revision="r", load_tokenizer=load_tokenizer)
    monkeypatch.setattr("worker.tokens.version", lambda _: "of tomorrow")
    load_tokens(tmp_path, data, "test", 16, tokenizer_revision="r", load_tokenizer=load_tokenizer)
    assert len(loaded) == 5


def test_tokens_on_disk_that_are_not_whole_are_made_again(tmp_path: Path, cache: Path, data: PreparedData) -> None:
    (tmp_path / "data").symlink_to(cache / "data")

    def load() -> TokenizedTexts:
        return load_tokens(
            tmp_path, data, "test", 16, tokenizer_revision="r", load_tokenizer=lambda: make_tokenizer("qwen3")
        )

    made = load()
    (path,) = (tmp_path / "tokens").iterdir()
    path.write_bytes(path.read_bytes()[:-10])

    assert all(torch.equal(ids, other) for ids, other in zip(load().ids, made.ids, strict=True))
