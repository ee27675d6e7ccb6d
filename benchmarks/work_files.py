"""Works on disk: their data and backbones, made once and kept, prepared by the product as it prepares a user's."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measurement import Bench, Measurement
from benchmarks.works import DecoderShape, DrawnTexts, Work
from worker.backbone import prepare_backbone
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import Execution, PreparedBackbone, PreparedData, RunConfig, arm_training
from worker.contract.local_files import write_file_atomically
from worker.contract.plan import DataSpec
from worker.contract.records import content_hash
from worker.data import prepare_data

COLD = "cold-"
"""Prefix of the folders in a bench's cache that last no longer than a side."""


def prepare(bench: Bench, work: Work) -> Measurement:
    """Put a work's data and backbone on disk, unless they are there."""
    spec = _data_spec(bench.cache, work.data, work.backbone)
    backbone_spec = _backbone_spec(bench.cache, work.backbone)
    if isinstance(work.data, DrawnTexts) and isinstance(work.backbone, DecoderShape):
        _draw_texts(Path(spec.source), work.data, work.backbone)
        _make_decoder(Path(backbone_spec.source), work.backbone)
    data = prepare_data(spec, bench.cache)
    assert data is not None
    prepare_backbone(backbone_spec, data, bench.cache)
    return Measurement(values={})


def run_config(bench: Bench, work: Work, mode: Mode, cache: Path) -> RunConfig:
    """Return the document of an arm of a work that was prepared, with one seed.

    Args:
        bench: Where the work lies.
        work: What is trained.
        mode: Of the arm.
        cache: What the worker uses as its cache; results go into the folder ``results`` in it.
    """
    data, backbone = _find(bench, work)
    spec = _backbone_spec(bench.cache, work.backbone)
    return RunConfig(
        comparison="benchmark",
        arm=Arm(label=f"{mode} {work.name}", backbone=spec, mode=mode),
        seeds=(0,),
        data=data,
        backbone=backbone,
        training=arm_training(work.training, mode),
        execution=Execution(results=str(cache / "results"), cache=str(cache), device=bench.device),
    )


@contextmanager
def cold_cache(bench: Bench) -> Iterator[Path]:
    """Lend a worker's cache with prepared data and backbones, and without tokens, features or checkpoints."""
    with tempfile.TemporaryDirectory(dir=bench.cache, prefix=COLD) as folder:
        for part in ("data", "backbones"):
            if (bench.cache / part).exists():
                shutil.copytree(bench.cache / part, Path(folder, part), copy_function=os.link)
        yield Path(folder)


def remove_cold_caches(bench: Bench) -> None:
    """Remove what sides that were killed have left."""
    for folder in bench.cache.glob(f"{COLD}*"):
        shutil.rmtree(folder)


def _find(bench: Bench, work: Work) -> tuple[PreparedData, PreparedBackbone]:
    data = prepare_data(_data_spec(bench.cache, work.data, work.backbone), bench.cache, only_look=True)
    assert data is not None, f"the data of {work.name} were not prepared"
    backbone = prepare_backbone(_backbone_spec(bench.cache, work.backbone), data, bench.cache, only_look=True)
    assert backbone is not None, f"the backbone of {work.name} was not prepared"
    return data, backbone


def _data_spec(cache: Path, data: DataSpec | DrawnTexts, backbone: str | DecoderShape) -> DataSpec:
    if isinstance(data, DataSpec):
        return data
    assert isinstance(backbone, DecoderShape), "texts are drawn for a decoder's vocabulary"
    name = content_hash([data.model_dump(), backbone.vocabulary_size])[:16]
    return DataSpec(
        source=str(cache / "texts" / f"{name}.csv"),
        split_column="split",
        train_examples=data.num_train,
        validation_examples=data.num_validation,
        test_examples=data.num_test,
    )


def _backbone_spec(cache: Path, backbone: str | DecoderShape) -> BackboneSpec:
    if isinstance(backbone, str):
        return BackboneSpec(source=backbone)
    return BackboneSpec(source=str(cache / "decoders" / content_hash(backbone.model_dump())[:16]))


def _draw_texts(path: Path, texts: DrawnTexts, shape: DecoderShape) -> None:
    if not path.exists():
        from benchmarks.drawn_texts import draw_csv  # noqa: PLC0415 - transformers: seconds

        write_file_atomically(path, draw_csv(texts, shape.vocabulary_size).encode())


def _make_decoder(folder: Path, shape: DecoderShape) -> None:
    """Save a decoder with random weights as its authors would: the causal language model, with its tokenizer."""
    if folder.exists():
        return
    import torch  # noqa: PLC0415 - seconds, and made once
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415

    from benchmarks.drawn_texts import make_tokenizer  # noqa: PLC0415

    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=shape.num_layers,
        hidden_size=shape.hidden_size,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        intermediate_size=shape.mlp_size,
        vocab_size=shape.vocabulary_size,
        tie_word_embeddings=True,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as making:
        LlamaForCausalLM(config).save_pretrained(making)
        make_tokenizer(shape.vocabulary_size).save_pretrained(making)
        shutil.copytree(making, folder.with_suffix(".part"), dirs_exist_ok=True, copy_function=os.link)
    folder.with_suffix(".part").rename(folder)
