"""What an arm trains on: targets, tokens and features of every split, from the cache where they are there.

Shapes: ``N`` examples, ``D`` features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from worker.backbone import load_body, load_tokenizer, num_embeddings
from worker.checkpoint import ArmCheckpoints
from worker.contract.config import PreparedData, RunConfig
from worker.contract.errors import TrainingError
from worker.data import load_split
from worker.events import log
from worker.features import FeatureCache, FeatureOrigin, Features, extract_features, feature_folder
from worker.model import PooledBackbone, num_parameters, weights_hash
from worker.monitor import Monitor
from worker.splits import SPLITS, Example, Split
from worker.tokens import TokenizedTexts, check_ids, load_tokens


@dataclass(frozen=True, slots=True)
class LabelledSplits:
    """Examples and targets of every split."""

    examples: dict[Split, list[Example]]
    targets: dict[Split, Tensor]
    """``[N]``, int64, on the CPU."""


def load_labelled_splits(cache: Path, data: PreparedData) -> LabelledSplits:
    """Read every split of a prepared data set."""
    examples: dict[Split, list[Example]] = {split: load_split(cache, data, split) for split in SPLITS}
    targets = {split: torch.tensor([example.target for example in rows]) for split, rows in examples.items()}
    return LabelledSplits(examples, targets)


def load_arm_tokens(config: RunConfig, split: Split) -> TokenizedTexts:
    """Return one split's tokens for the arm's backbone."""
    cache = Path(config.execution.cache)
    tokens = load_tokens(
        cache,
        config.data,
        split,
        config.training.max_tokens,
        tokenizer_revision=config.backbone.revision,
        load_tokenizer=partial(load_tokenizer, cache, config.backbone),
    )
    check_ids(tokens, num_embeddings(cache, config.backbone), config.backbone.source)
    return tokens


def load_arm_features(
    config: RunConfig, splits: Sequence[Split], device: torch.device, monitor: Monitor
) -> dict[Split, Features]:
    """Return the arm's features of some splits; what the cache lacks is made and put there.

    Raises:
        TrainingError: The backbone's weights were not the same after the pass as before.
    """
    cache = FeatureCache(feature_folder(config, device), is_enabled=config.execution.use_feature_cache)
    found = {split: cache.read(split) for split in splits}
    hashes = {features.origin.weights_hash_before for features in found.values() if features}
    # Splits that were made by different weights are no features of one backbone; all are made again.
    missing = [split for split, features in found.items() if features is None or len(hashes) > 1]
    log.info("features", from_cache=[split for split in splits if split not in missing], to_make=missing)
    if missing:
        made = _make_features(config, missing, device, monitor)
        for split, features in made.items():
            cache.write(split, features)
        found |= made
    return {split: features for split, features in found.items() if features is not None}


def _make_features(
    config: RunConfig, splits: Sequence[Split], device: torch.device, monitor: Monitor
) -> dict[Split, Features]:
    execution, max_tokens = config.execution, config.training.max_tokens
    with monitor.during("loading"):
        tokens = {split: load_arm_tokens(config, split) for split in splits}
        body = load_body(Path(execution.cache), config.backbone, max_tokens)
        backbone = PooledBackbone(body, is_frozen=True).to(device)
    checkpoints = ArmCheckpoints(config, device)
    with monitor.during("features"):
        hash_before = weights_hash(backbone)
        values: dict[Split, Tensor] = {}
        for split, texts in tokens.items():
            pieces = checkpoints.of(f"features-{split}-{hash_before[:16]}")
            values[split] = extract_features(
                backbone, texts, execution.tokens_per_batch, pieces, monitor.count_examples
            )
        hash_after = weights_hash(backbone)
    if hash_after != hash_before:
        raise TrainingError(
            f"The frozen backbone {config.backbone.source} changed while it was only read "
            f"({hash_before[:12]} before, {hash_after[:12]} after).",
            remedy="This architecture updates buffers in its forward pass and cannot be a frozen arm.",
        )
    size = num_parameters(backbone)
    return {
        split: Features(
            values[split],
            FeatureOrigin(hash_before, hash_after, size, execution.tokens_per_batch, tokens[split].num_truncated),
            is_from_cache=False,
        )
        for split in splits
    }
