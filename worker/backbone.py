"""Backbones: from a source to a pinned folder in the cache, and from there to a body and its tokenizer.

Only safetensors and GGUF are read, and no code that comes with a model is run unless its arm allows it.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from worker.body import backbone_folder, load_body, load_tokenizer, num_embeddings
from worker.contract.arms import BackboneSpec
from worker.contract.config import PreparedBackbone, PreparedData
from worker.contract.errors import BackboneError
from worker.contract.local_files import write_file_atomically
from worker.contract.records import canonical_json, content_hash
from worker.data import load_split, read_answer
from worker.hub import HubFailure, fetch_model, resolve_revision
from worker.model_files import describe_model, digest_file, digest_folder
from worker.tiny import tiny_recipe

_MAKING = ".making-"
_ABANDONED_SECONDS = 86_400.0
"""Age at which a folder that is being made is nobody's any more: its maker was killed."""

__all__ = ["load_body", "load_tokenizer", "num_embeddings", "prepare_backbone"]


def prepare_backbone(
    spec: BackboneSpec, data: PreparedData, cache: Path, *, num_threads: int = 0, only_look: bool = False
) -> PreparedBackbone | None:
    """Fetch or make a backbone, once, and pin its revision.

    Args:
        spec: The source.
        data: The data set on whose train texts a tiny backbone is pretrained.
        cache: Folder shared by all workers.
        num_threads: CPU threads of a pretraining; 0 leaves it to torch.
        only_look: Return None instead of fetching or making what is not there.

    Raises:
        BackboneError: It does not exist, may not be read, or has nothing safe to load.
    """
    if spec.kind == "folder":
        return _describe_folder(spec)
    try:
        request = _request(spec, data)
        answer = cache / "backbones" / "requests" / f"{content_hash(request)}.json"
        if (known := read_answer(answer, PreparedBackbone)) and _is_there(cache, known):
            # One file may lie under several names.
            return known.model_copy(update={"source": spec.source})
        if only_look:
            return None
        match spec.kind:
            case "hub":
                folder = fetch_model(spec.source, request["revision"], cache, with_code=spec.allow_code)
                prepared = _describe(spec, folder, request["revision"])
            case "gguf":
                prepared = _make_of_gguf(spec, cache, request["file"])
            case _:
                prepared = _make_tiny(spec, data, cache, num_threads)
    except HubFailure as failure:
        raise BackboneError(failure.problem, remedy=failure.remedy) from failure
    write_file_atomically(answer, prepared.model_dump_json(indent=2).encode())
    return prepared


def _is_there(cache: Path, backbone: PreparedBackbone) -> bool:
    """Whether the cache still holds the files that an earlier answer names."""
    try:
        return (backbone_folder(cache, backbone) / "config.json").exists()
    except BackboneError:
        return False


def _request(spec: BackboneSpec, data: PreparedData) -> dict[str, str]:
    match spec.kind:
        case "hub":
            request = {"source": spec.source, "revision": resolve_revision(spec.source, spec.revision, "model")}
            return request | ({"allow_code": "true"} if spec.allow_code else {})
        case "gguf":
            return {"file": digest_file(Path(spec.source).expanduser()), "transformers": version("transformers")}
        case _:
            return {"recipe": canonical_json(tiny_recipe(spec.short_name)), "data": data.digest}


def _describe(spec: BackboneSpec, folder: Path, revision: str) -> PreparedBackbone:
    facts = describe_model(spec, folder, revision)
    return PreparedBackbone(kind=spec.kind, source=spec.source, revision=revision, **facts._asdict())


def _describe_folder(spec: BackboneSpec) -> PreparedBackbone:
    folder = Path(spec.source).expanduser()
    revision = digest_folder(folder, with_code=False)
    prepared = _describe(spec, folder, revision)
    if prepared.own_code:
        return prepared.model_copy(update={"revision": digest_folder(folder, with_code=True)})
    return prepared


def _make_tiny(spec: BackboneSpec, data: PreparedData, cache: Path, num_threads: int) -> PreparedBackbone:
    from worker.pretrain import pretrain_tiny  # noqa: PLC0415 - torch and transformers: seconds

    texts = [example.text for example in load_split(cache, data, "train")]

    def describe(making: Path) -> PreparedBackbone:
        pretrain_tiny(spec.short_name, texts, making, num_threads=num_threads)
        return _describe(spec, making, digest_folder(making, with_code=False))

    return _make(cache, describe)


def _make_of_gguf(spec: BackboneSpec, cache: Path, revision: str) -> PreparedBackbone:
    from worker.gguf_files import write_gguf_as_folder  # noqa: PLC0415 - as in _make_tiny

    def describe(making: Path) -> PreparedBackbone:
        write_gguf_as_folder(Path(spec.source).expanduser(), spec.source, making)
        return _describe(spec, making, revision)

    return _make(cache, describe)


def _make(cache: Path, describe: Callable[[Path], PreparedBackbone]) -> PreparedBackbone:
    """Let a backbone be made in a folder of its own, and put that in its place when it is whole."""
    parent = cache / "backbones"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_MAKING}*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    making = Path(tempfile.mkdtemp(dir=parent, prefix=_MAKING))
    try:
        prepared = describe(making)
        place = backbone_folder(cache, prepared)
        try:
            making.rename(place)
        except OSError:
            # Somebody made the same one in the meantime; any other reason is one to stop for.
            if not place.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return prepared
