"""Tokenizers like those that each family's hub repositories ship, with a small vocabulary trained in process.

| family | kind | begins with | pad |
|---|---|---|---|
| qwen3, qwen2 | byte-level BPE, Qwen2Tokenizer | nothing | ``<|endoftext|>``, which is also eos |
| llama (3.2) | byte-level BPE, PreTrainedTokenizerFast | ``<|begin_of_text|>`` | none |
| smollm3 | byte-level BPE, PreTrainedTokenizerFast | nothing | its eos |
| mistral | Metaspace BPE with byte fallback, LlamaTokenizer | ``<s>`` | none |
| gemma3 | BPE with byte fallback, GemmaTokenizer | ``<bos>`` | ``<pad>``, id 0; pads on the left |
| bert | WordPiece, BertTokenizer | ``[CLS]``, and ends with ``[SEP]`` | ``[PAD]``, id 0 |
| roberta | byte-level BPE, RobertaTokenizer | ``<s>``, and ends with ``</s>`` | ``<pad>``, id 1 |
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    GemmaTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    RobertaTokenizer,
)

from synthetic_news import synthetic_news

VOCABULARY_SIZE = 480
"""Tokens at most: 256 bytes, the special tokens and about 200 merges."""

_BYTE_FALLBACK_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def make_tokenizer(architecture: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a family.

    Args:
        architecture: One of qwen3, llama, mistral, smollm3, gemma3, qwen2, bert, roberta.
    """
    return _MAKERS[architecture]()


def _train(tokenizer: Tokenizer, special_tokens: Sequence[str], alphabet: Sequence[str] = ()) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(special_tokens),
        initial_alphabet=list(alphabet),
        show_progress=False,
    )
    texts, _ = synthetic_news(400, seed=0)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _byte_level(special_tokens: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _train(tokenizer, special_tokens, pre_tokenizers.ByteLevel.alphabet())


def _byte_fallback(special_tokens: Sequence[str], pre_tokenizer: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))  # noqa: S106 - a token
    tokenizer.normalizer = normalizers.Replace(" ", "\N{LOWER ONE EIGHTH BLOCK}")
    tokenizer.pre_tokenizer = pre_tokenizer
    return _train(tokenizer, [*special_tokens, *_BYTE_FALLBACK_TOKENS])


def _vocabulary(tokenizer: Tokenizer) -> tuple[dict[str, int], Any]:
    """Return what the family's class is built from. It takes merges as pairs, whatever its annotation says."""
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def _qwen() -> PreTrainedTokenizerFast:
    special_tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary, merges = _vocabulary(_byte_level(special_tokens))
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=131_072)
    tokenizer.add_special_tokens({"additional_special_tokens": special_tokens[1:]})
    return tokenizer


def _llama() -> PreTrainedTokenizerFast:
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    tokenizer = _byte_level([begin, end])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin} $B:1",
        special_tokens=[(begin, tokenizer.token_to_id(begin))],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=begin, eos_token=end, model_max_length=131_072)


def _smollm3() -> PreTrainedTokenizerFast:
    end = "<|im_end|>"
    tokenizer = _byte_level(["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", end])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=end, model_max_length=131_072)


def _mistral() -> PreTrainedTokenizerFast:
    pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    vocabulary, merges = _vocabulary(_byte_fallback(["<unk>", "<s>", "</s>"], pre_tokenizer))
    return LlamaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)


def _gemma() -> PreTrainedTokenizerFast:
    pre_tokenizer = pre_tokenizers.Split("\N{LOWER ONE EIGHTH BLOCK}", "merged_with_next")
    vocabulary, merges = _vocabulary(_byte_fallback(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"], pre_tokenizer))
    return GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True)


def _bert() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789.,"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(synthetic_news(400, seed=0)[0], trainer)
    return BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=512)


def _roberta() -> PreTrainedTokenizerFast:
    vocabulary, merges = _vocabulary(_byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]))
    return RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=512)


_MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "qwen3": _qwen,
    "llama": _llama,
    "mistral": _mistral,
    "smollm3": _smollm3,
    "gemma3": _gemma,
    "qwen2": _qwen,
    "bert": _bert,
    "roberta": _roberta,
}
