"""What every peer starts from: weights, tokenizer and raw texts in memory, and the same conditions as the product.

Shapes: ``B`` batch, ``T`` tokens, ``N`` examples, ``D`` hidden size, ``C`` classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch._dynamo  # as in benchmarks.sides.clock
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding, PreTrainedTokenizerBase
from transformers.utils import logging

from benchmarks.measurement import Bench
from benchmarks.work_files import run_config
from benchmarks.works import Work
from worker.arm_data import load_arm_features, load_labelled_splits
from worker.body import backbone_folder
from worker.contract.arms import Mode
from worker.contract.plan import TrainingSettings
from worker.model import Standardise, new_head
from worker.monitor import Monitor
from worker.schedule import batch_rows, lr_factor, parameter_groups
from worker.splits import Example

SEED = 0


class PeerClassifier(nn.Module):
    """A body, its hidden states averaged over real tokens, standardised, and a linear head: a model for Trainer."""

    def __init__(self, body: nn.Module, standardise: Standardise, head: nn.Linear, *, is_frozen: bool) -> None:
        """Join the parts; a frozen body gets no gradients."""
        super().__init__()
        self.body = body.requires_grad_(not is_frozen)
        self.standardise = standardise
        self.head = head
        self.is_frozen = is_frozen

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return standardised features, ``[B, D]``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            hidden_BTD = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight_BT1 = attention_mask.unsqueeze(-1).to(hidden_BTD.dtype)
            pooled_BD = (hidden_BTD * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1)
        standard_BD: Tensor = self.standardise(pooled_BD)
        return standard_BD

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``logits``, and ``loss`` if there are labels."""
        logits_BC = self.head(self.encode(input_ids, attention_mask))
        if labels is None:
            return {"logits": logits_BC}
        return {"loss": nn.functional.cross_entropy(logits_BC, labels), "logits": logits_BC}


@dataclass
class Task:
    """One training, before its clock begins."""

    model: PeerClassifier
    tokenizer: PreTrainedTokenizerBase
    train: list[Example]
    validation: list[Example]
    settings: TrainingSettings
    rows: Tensor
    """Train rows of every update, ``[steps, B]``: those of the product."""
    device: torch.device

    def encode(self, examples: list[Example]) -> list[dict[str, Any]]:
        """Tokenize examples in one call, as the tokenizer's documentation does."""
        texts = [example.text for example in examples]
        encoding = self.tokenizer(texts, truncation=True, max_length=self.settings.max_tokens)
        return [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": example.target}
            for ids, example in zip(encoding["input_ids"], examples, strict=True)
        ]

    def collate(self, encoded: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Return a batch on the device, padded to its longest text."""
        batch = DataCollatorWithPadding(self.tokenizer)(list(encoded))
        return {name: value.to(self.device) for name, value in batch.items()}

    def make_optimizer(self) -> tuple[torch.optim.AdamW, LambdaLR]:
        """Return AdamW and a schedule with the product's groups and learning rates."""
        groups = list(parameter_groups(self.model.head, self.settings.head_lr[0], self.settings.weight_decay))
        if not self.model.is_frozen:
            lr, decay = self.settings.backbone_lr[0], self.settings.weight_decay
            groups = [*parameter_groups(self.model.body, lr, decay), *groups]
        optimizer = torch.optim.AdamW(groups, fused=True)  # Trainer's own default
        return optimizer, LambdaLR(optimizer, lambda made: lr_factor(made + 1, self.settings))


def longest_first(encoded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return examples by length, so that a batch has little padding. For evaluation, where order changes nothing."""
    return sorted(encoded, key=lambda example: -len(example["input_ids"]))


def load_task(bench: Bench, work: Work, mode: Mode) -> Task:
    """Load what a peer needs.

    The numbers of the standardisation are the product's, from features that stay in the benchmark's cache: a peer is
    not charged for them.
    """
    config = run_config(bench, work, mode, bench.cache)
    device = torch.device(bench.device)
    train_ND = load_arm_features(config, ("train",), device, Monitor(config))["train"].values_ND
    labelled = load_labelled_splits(bench.cache, config.data)
    folder = backbone_folder(bench.cache, config.backbone)
    logging.disable_progress_bar()
    body = AutoModel.from_pretrained(folder, dtype=torch.float32)
    body.config.use_cache = False
    head = new_head(train_ND.shape[1], len(config.data.classes), SEED)
    settings = config.training
    return Task(
        model=PeerClassifier(body, Standardise(train_ND), head, is_frozen=mode is Mode.FROZEN).to(device),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        train=labelled.examples["train"],
        validation=labelled.examples["validation"],
        settings=settings,
        rows=batch_rows(len(labelled.examples["train"]), settings.batch_size, settings.steps, SEED),
        device=device,
    )
