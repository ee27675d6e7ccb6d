"""Pretraining of tiny backbones: a brief causal-LM training on unlabelled texts, by the recipe in ``worker.tiny``."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from worker.batches import pad
from worker.schedule import parameter_groups, set_learning_rates, warm_up_and_decay
from worker.tiny import COMMON, PRETRAINING, SPECIFIC, Pretraining
from worker.tokens import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def tiny_config(architecture: str) -> "PreTrainedConfig":
    """Return the transformers configuration of a tiny architecture."""
    model_type, specific = SPECIFIC[architecture]
    return AutoConfig.for_model(model_type, **copy.deepcopy({**COMMON, **specific}))


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer that needs no files: one token per UTF-8 byte, and an end token after each text."""
    specials = ["<pad>", "</s>", "<s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(specials + alphabet)}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(("pad_token", "eos_token", "bos_token"), specials, strict=True))
    )


def pretrain_tiny(
    architecture: str, texts: Sequence[str], folder: Path, *, recipe: Pretraining = PRETRAINING, num_threads: int = 0
) -> None:
    """Pretrain a tiny backbone and save its body and tokenizer as a transformers folder.

    The language-model head is tied to the embedding and is not saved.

    Args:
        architecture: A key of ``worker.tiny.SPECIFIC``.
        texts: Unlabelled texts.
        folder: Where the files go.
        recipe: Steps, batch and rates.
        num_threads: CPU threads; 0 leaves it to torch.
    """
    logging.disable_progress_bar()
    if num_threads:
        torch.set_num_threads(num_threads)
    tokenizer = byte_tokenizer()
    tokens = tokenize(tokenizer, texts, recipe.max_tokens)
    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_config(tiny_config(architecture)).train()
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe.lr, recipe.weight_decay), betas=recipe.betas)
    draw = torch.Generator().manual_seed(recipe.seed)
    for step in range(1, recipe.steps + 1):
        factor = warm_up_and_decay(step, recipe.steps, recipe.warmup_steps, "cosine", recipe.final_lr_ratio)
        set_learning_rates(optimizer, factor)
        rows = torch.randint(len(tokens), (recipe.texts_per_step,), generator=draw).tolist()
        batch = pad(tokens, rows)
        loss: Tensor = model(
            input_ids=batch.ids_BT,
            attention_mask=batch.mask_BT,
            labels=batch.ids_BT.masked_fill(batch.mask_BT == 0, -100),
        ).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
