"""Features: what a frozen backbone says of each text, computed once and kept by content.

Steps, seeds, learning-rate candidates and later runs all read the same vectors. The file of each split also carries the
hash of the backbone's weights before and after the pass that made it, so that a run from the cache can cite them.

Shapes: ``N`` texts, ``B`` batch, ``D`` hidden size.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from worker.batches import batches_by_length
from worker.checkpoint import CheckpointFolder
from worker.contract.config import RunConfig
from worker.contract.local_files import write_file_atomically
from worker.contract.records import content_hash
from worker.device import device_name, package_versions
from worker.events import log
from worker.lifecycle import stop_if_told, uninterrupted
from worker.model import PooledBackbone
from worker.tokens import TokenizedTexts

_FEATURES_RECIPE = {"version": 3, "pooling": "mean", "layer": "last", "dtype": "float32"}


@dataclass(frozen=True, slots=True)
class FeatureOrigin:
    """Which weights made the features, and in what batches."""

    weights_hash_before: str
    weights_hash_after: str
    num_parameters: int
    tokens_per_batch: int
    num_truncated: int


@dataclass(frozen=True, slots=True)
class Features:
    """One split's features."""

    values_ND: Tensor
    """fp32, on the CPU, in the split's order."""
    origin: FeatureOrigin
    is_from_cache: bool


class FeatureCache:
    """Features on disk, one safetensors file per split, named by everything that their values depend on.

    Device model and library versions are part of the name, so that a result can say of its features what it says of
    itself.

    Args:
        folder: The cache's folder for this backbone, data set and length; see ``feature_folder``.
        is_enabled: Whether anything is read or written.
    """

    def __init__(self, folder: Path, *, is_enabled: bool) -> None:
        """Nothing is read yet."""
        self._folder = folder
        self._is_enabled = is_enabled

    def read(self, split: str) -> Features | None:
        """Return a split's features, or None if they are not there or not whole."""
        if not self._is_enabled:
            return None
        try:
            with safe_open(self._path(split), framework="pt") as file:
                metadata = file.metadata()
                values_ND = file.get_tensor("values_ND")
        except (FileNotFoundError, SafetensorError):
            return None
        origin = FeatureOrigin(
            weights_hash_before=metadata["weights_hash_before"],
            weights_hash_after=metadata["weights_hash_after"],
            num_parameters=int(metadata["num_parameters"]),
            tokens_per_batch=int(metadata["tokens_per_batch"]),
            num_truncated=int(metadata["num_truncated"]),
        )
        return Features(values_ND, origin, is_from_cache=True)

    def write(self, split: str, features: Features) -> None:
        """Keep a split's features."""
        if self._is_enabled:
            metadata = {name: str(value) for name, value in asdict(features.origin).items()}
            write_file_atomically(self._path(split), save({"values_ND": features.values_ND}, metadata))

    def _path(self, split: str) -> Path:
        return self._folder / f"{split}.safetensors"


def feature_folder(config: RunConfig, device: torch.device) -> Path:
    """Return the folder of an arm's features: named by everything that their values depend on."""
    key = content_hash(
        [
            _FEATURES_RECIPE,
            config.backbone.revision,
            config.data.digest,
            config.training.max_tokens,
            device_name(device),
            package_versions(),
        ]
    )
    return Path(config.execution.cache, "features", key)


def extract_features(
    backbone: PooledBackbone,
    texts: TokenizedTexts,
    tokens_per_batch: int,
    pieces: CheckpointFolder,
    report: Callable[[int], None],
) -> Tensor:
    """Pass every text through the backbone once, going on from the pieces that an earlier attempt left.

    Args:
        backbone: In evaluation mode.
        texts: Any lengths; they are batched by length.
        tokens_per_batch: Padded tokens per batch at most.
        pieces: Features of batches so far. The last one is left at the end, whatever ends the pass.
        report: Told the number of texts after each batch.

    Returns:
        ``features_ND`` in fp32 on the CPU, in the order of ``texts``.
    """
    batches = batches_by_length(texts, tokens_per_batch)
    device = next(backbone.parameters()).device
    pooled = _read_pieces(pieces)
    num_kept = len(pooled)
    if pooled:
        log.info("features resumed", num_batches=len(pooled), of=len(batches))
    try:
        with torch.inference_mode():
            for batch in batches[len(pooled) :]:
                stop_if_told()
                values_BD = backbone(batch.ids_BT.to(device), batch.mask_BT.to(device)).cpu()
                with uninterrupted():
                    pooled.append(values_BD)
                report(len(batch.rows))
                if pieces.is_due():
                    num_kept = _write_piece(pieces, pooled, num_kept)
    finally:
        _write_piece(pieces, pooled, num_kept)
    features_ND = torch.empty(len(texts), pooled[0].shape[1])
    features_ND[torch.cat([batch.rows for batch in batches])] = torch.cat(pooled)
    return features_ND


def _write_piece(pieces: CheckpointFolder, pooled: Sequence[Tensor], num_kept: int) -> int:
    """Keep the batches that are in no piece yet, and return how many are kept now."""
    if len(pooled) > num_kept:
        pieces.append(num_kept, len(pooled), {"first": num_kept, "pooled": list(pooled[num_kept:])})
    return len(pooled)


def _read_pieces(pieces: CheckpointFolder) -> list[Tensor]:
    """Return the features of the first batches, as far as the pieces follow on each other."""
    pooled: list[Tensor] = []
    for piece in pieces.read_pieces():
        if piece["first"] == len(pooled):
            pooled.extend(values_BD.clone() for values_BD in piece["pooled"])
    return pooled
