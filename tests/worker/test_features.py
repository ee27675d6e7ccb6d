"""Features: what a frozen backbone says of each text, whatever the batches, and kept on disk.

Shapes: ``N`` texts, ``D`` hidden size.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from worker.arm_data import load_arm_features, load_arm_tokens
from worker.backbone import load_body
from worker.batches import batches_by_length
from worker.checkpoint import CheckpointFolder
from worker.contract.arms import Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.data import load_split
from worker.features import FeatureCache, FeatureOrigin, Features, extract_features, feature_folder
from worker.model import PooledBackbone, weights_hash
from worker.monitor import Monitor
from worker.splits import SPLITS

CPU = torch.device("cpu")


def make_features(seed: int = 0) -> Features:
    values_ND = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    return Features(values_ND, FeatureOrigin("1" * 64, "1" * 64, 12, 4096, 2), is_from_cache=False)


@pytest.fixture
def open_cache(tmp_path: Path, make_config: Callable[..., RunConfig]) -> Callable[..., FeatureCache]:
    config = make_config(Mode.FROZEN, execution={"cache": str(tmp_path)})

    def open_(
        *,
        revision: str = config.backbone.revision,
        digest: str = config.data.digest,
        max_tokens: int = config.training.max_tokens,
        is_enabled: bool = True,
    ) -> FeatureCache:
        changed = config.model_copy(
            update={
                "backbone": config.backbone.model_copy(update={"revision": revision}),
                "data": config.data.model_copy(update={"digest": digest}),
                "training": config.training.model_copy(update={"max_tokens": max_tokens}),
            }
        )
        return FeatureCache(feature_folder(changed, CPU), is_enabled=is_enabled)

    return open_


def test_features_are_the_mean_of_the_last_hidden_states_of_each_text_alone(
    make_config: Callable[..., RunConfig], backbone_folder: Path, cache: Path, data: PreparedData
) -> None:
    config = make_config(Mode.FROZEN, execution={"use_feature_cache": False})
    features = load_arm_features(config, ("test",), CPU, Monitor(config))["test"]
    model, tokenizer = AutoModel.from_pretrained(backbone_folder), AutoTokenizer.from_pretrained(backbone_folder)
    with torch.no_grad():
        expected_ND = torch.cat(
            [
                model(
                    **tokenizer(example.text, return_tensors="pt", truncation=True, max_length=48)
                ).last_hidden_state.mean(dim=1)
                for example in load_split(cache, data, "test")
            ]
        )

    torch.testing.assert_close(features.values_ND, expected_ND, rtol=0, atol=1e-5)
    assert features.values_ND.dtype is torch.float32
    assert not features.is_from_cache


def test_features_do_not_depend_on_the_batches(
    make_config: Callable[..., RunConfig], backbone: PreparedBackbone, cache: Path, tmp_path: Path
) -> None:
    tokens = load_arm_tokens(make_config(Mode.FROZEN), "train")
    body = PooledBackbone(load_body(cache, backbone, max_tokens=48), is_frozen=True)
    reported: list[int] = []
    first, *others = [
        extract_features(body, tokens, size, CheckpointFolder(tmp_path / str(size), 3600), reported.append)
        for size in (4096, 700, 1)
    ]

    assert first.shape == (160, 32)
    assert first.std(dim=0).min() > 1e-3
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-5)
    assert reported == [len(batch.rows) for size in (4096, 700, 1) for batch in batches_by_length(tokens, size)]


def test_an_arms_features_are_made_once_and_carry_the_hashes_of_the_backbone(
    make_config: Callable[..., RunConfig], tmp_path: Path, cache: Path, backbone: PreparedBackbone
) -> None:
    (tmp_path / "data").symlink_to(cache / "data")
    config = make_config(Mode.FROZEN, execution={"cache": str(tmp_path)})
    monitor = Monitor(config)
    made = load_arm_features(config, SPLITS, CPU, monitor)
    read = load_arm_features(config, SPLITS, CPU, monitor)
    digest = weights_hash(PooledBackbone(load_body(cache, backbone, max_tokens=48), is_frozen=True))

    for split in SPLITS:
        assert torch.equal(made[split].values_ND, read[split].values_ND)
        assert made[split].origin == read[split].origin
        assert (made[split].is_from_cache, read[split].is_from_cache) == (False, True)
        assert (read[split].origin.weights_hash_before, read[split].origin.weights_hash_after) == (digest, digest)


def test_what_is_kept_is_read_back(open_cache: Callable[..., FeatureCache]) -> None:
    features = make_features()
    open_cache().write("train", features)
    read = open_cache().read("train")

    assert read is not None
    assert torch.equal(read.values_ND, features.values_ND)
    assert replace(read, values_ND=features.values_ND) == replace(features, is_from_cache=True)
    assert open_cache().read("test") is None


@pytest.mark.parametrize("change", [{"revision": "other"}, {"digest": "e" * 64}, {"max_tokens": 49}])
def test_features_of_another_backbone_data_set_or_length_are_not_taken(
    open_cache: Callable[..., FeatureCache], change: dict[str, str | int]
) -> None:
    open_cache().write("train", make_features())

    assert open_cache(**change).read("train") is None


def test_a_file_that_is_not_whole_counts_as_none(open_cache: Callable[..., FeatureCache], tmp_path: Path) -> None:
    open_cache().write("train", make_features())
    (path,) = tmp_path.glob("features/*/train.safetensors")
    path.write_bytes(path.read_bytes()[:-7])

    assert open_cache().read("train") is None


def test_a_cache_that_is_switched_off_neither_reads_nor_writes(
    open_cache: Callable[..., FeatureCache], tmp_path: Path
) -> None:
    open_cache(is_enabled=False).write("train", make_features())
    assert not (tmp_path / "features").exists()
    open_cache().write("train", make_features())

    assert open_cache(is_enabled=False).read("train") is None
