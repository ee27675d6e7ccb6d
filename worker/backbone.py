"""Backbones: from a source to a pinned folder in the cache, and from there to a body and its tokenizer.

Only safetensors and GGUF are read, and no code that comes with a model is run unless its arm allows it.
"""

import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from worker.body import backbone_folder, load_body, load_tokenizer, num_embeddings
from worker.cache_files import MAKING, flush_folder
from worker.contract.arms import BackboneSpec
from worker.contract.config import PreparedBackbone, PreparedData
from worker.contract.errors import BackboneError, SourceChangedError
from worker.contract.local_files import write_file_atomically
from worker.contract.records import canonical_json, content_hash
from worker.data import load_split, read_answer
from worker.hub import HubFailure, fetch_model, resolve_revision
from worker.model_facts import describe_model
from worker.model_files import digest_file, digest_folder, missing_weights
from worker.tiny import tiny_recipe

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
        SourceChangedError: A file changed while it was read.
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
        folder = backbone_folder(cache, backbone)
        return (folder / "config.json").exists() and not missing_weights(folder, backbone.source)
    except BackboneError:
        return False


def _request(spec: BackboneSpec, data: PreparedData) -> dict[str, str]:
    match spec.kind:
        case "hub":
            request = {"source": spec.source, "revision": resolve_revision(spec.source, spec.revision, "model")}
            # Which code is needed depends on the classes that the library has.
            return request | (
                {"allow_code": "true", "transformers": version("transformers")} if spec.allow_code else {}
            )
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
        path = Path(spec.source).expanduser()
        try:
            write_gguf_as_folder(path, spec.source, making)
        except BackboneError:
            _check_unchanged(path, revision)  # half of a file that is being written is wrong in many ways
            raise
        _check_unchanged(path, revision)
        return _describe(spec, making, revision)

    return _make(cache, describe)


def _check_unchanged(path: Path, digest: str) -> None:
    if digest_file(path) != digest:
        raise SourceChangedError(
            f"The backbone {path} changed while it was read.", remedy="Wait until nobody writes to it, and try again."
        )


def _make(cache: Path, describe: Callable[[Path], PreparedBackbone]) -> PreparedBackbone:
    """Let a backbone be made in a folder of its own, and put that in its place when it is whole."""
    parent = cache / "backbones"
    parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=parent, prefix=MAKING))
    try:
        prepared = describe(making)
        flush_folder(making)
        place = backbone_folder(cache, prepared)
        try:
            making.rename(place)
        except OSError:
            # Somebody made the same one in the meantime; any other reason is one to stop for.
            if not place.is_dir():
                raise
            if not _is_there(cache, prepared):
                shutil.rmtree(place)
                making.rename(place)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return prepared
