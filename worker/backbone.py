"""Backbones: from a source to a pinned folder in the cache, and from there to a body and its tokenizer.

Only safetensors are read, and no code that comes with a model is run.
"""

import hashlib
import json
import shutil
import tempfile
from functools import cache as cache_forever
from pathlib import Path
from typing import TYPE_CHECKING

from worker.contract.arms import BackboneSpec
from worker.contract.config import PreparedBackbone, PreparedData
from worker.contract.errors import BackboneError
from worker.contract.records import canonical_json, content_hash
from worker.contract.store import write_file_atomically
from worker.data import load_split, read_answer
from worker.hub import MODEL_FILES, HubFailure, fetch_model, resolve_revision, snapshot_folder
from worker.tiny import tiny_recipe

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


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
        folder = Path(spec.source).expanduser()
        return _describe(spec, folder, _digest_folder(folder))
    try:
        request = _request(spec, data)
        answer = cache / "backbones" / "requests" / f"{content_hash(request)}.json"
        if (known := read_answer(answer, PreparedBackbone)) and _is_there(cache, known):
            return known
        if only_look:
            return None
        if spec.kind == "hub":
            prepared = _describe(spec, fetch_model(spec.source, request["revision"], cache), request["revision"])
        else:
            prepared = _make_tiny(spec, data, cache, num_threads)
    except HubFailure as failure:
        raise BackboneError(failure.problem, remedy=failure.remedy) from failure
    write_file_atomically(answer, prepared.model_dump_json(indent=2).encode())
    return prepared


def load_body(cache: Path, backbone: PreparedBackbone, max_tokens: int) -> "nn.Module":
    """Load a backbone's body in fp32 on the CPU, without a language-model head.

    Raises:
        BackboneError: transformers cannot load it, weights are missing, or it reads fewer than ``max_tokens`` tokens.
    """
    import torch  # noqa: PLC0415 - seconds to import, and not needed to prepare
    from safetensors import SafetensorError  # noqa: PLC0415
    from transformers import AutoModel  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    folder = _folder(cache, backbone)
    if backbone.kind == "folder" and not _is_unchanged(folder, backbone.revision):
        raise BackboneError(
            f"{folder} has changed since it was prepared.", remedy="Run the comparison again: it is prepared anew."
        )
    try:
        body, report = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if "allocate memory" in str(error):
            raise  # the machine's memory, not the model
        raise BackboneError(
            f"transformers cannot load {backbone.source}: {error}",
            remedy="Use a model whose architecture this transformers has, with config.json and whole safetensors.",
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise BackboneError(
            f"{backbone.source} lacks {len(missing)} weights, among them {missing[0]}: they would be random.",
            remedy="Use a complete checkpoint of this architecture.",
        )
    limit = getattr(body.config, "max_position_embeddings", None)
    if limit is not None and limit < max_tokens:
        raise BackboneError(
            f"{backbone.source} reads at most {limit} tokens, training.max_tokens is {max_tokens}.",
            remedy=f"Set training.max_tokens to at most {limit}.",
        )
    return body  # type: ignore[no-any-return] # AutoModel is a factory without a useful type


def load_tokenizer(cache: Path, backbone: PreparedBackbone) -> "PreTrainedTokenizerBase":
    """Load a backbone's own tokenizer.

    Raises:
        BackboneError: It has none that transformers can load.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415 - as in load_body

    try:
        return AutoTokenizer.from_pretrained(_folder(cache, backbone), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError(
            f"transformers cannot load the tokenizer of {backbone.source}: {error}",
            remedy="Save the tokenizer beside the weights (tokenizer.json and tokenizer_config.json).",
        ) from error


def _folder(cache: Path, backbone: PreparedBackbone) -> Path:
    match backbone.kind:
        case "folder":
            return Path(backbone.source).expanduser()
        case "tiny":
            return cache / "backbones" / backbone.revision
        case "hub":
            try:
                return snapshot_folder(backbone.source, backbone.revision, cache)
            except HubFailure as failure:
                raise BackboneError(failure.problem, remedy=failure.remedy) from failure


def _is_there(cache: Path, backbone: PreparedBackbone) -> bool:
    """Whether the cache still holds the files that an earlier answer names."""
    try:
        return (_folder(cache, backbone) / "config.json").exists()
    except BackboneError:
        return False


def _request(spec: BackboneSpec, data: PreparedData) -> dict[str, str]:
    if spec.kind == "hub":
        return {"source": spec.source, "revision": resolve_revision(spec.source, spec.revision, "model")}
    return {"recipe": canonical_json(tiny_recipe(spec.short_name)), "data": data.digest}


def _make_tiny(spec: BackboneSpec, data: PreparedData, cache: Path, num_threads: int) -> PreparedBackbone:
    from worker.pretrain import pretrain_tiny  # noqa: PLC0415 - as in load_body

    texts = [example.text for example in load_split(cache, data, "train")]
    parent = cache / "backbones"
    parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=parent, prefix=".making-"))
    try:
        pretrain_tiny(spec.short_name, texts, making, num_threads=num_threads)
        prepared = _describe(spec, making, _digest_folder(making))
        try:
            making.rename(parent / prepared.revision)
        except OSError:
            # Somebody made the same one in the meantime; any other reason is one to stop for.
            if not (parent / prepared.revision).is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return prepared


def _describe(spec: BackboneSpec, folder: Path, revision: str) -> PreparedBackbone:
    try:
        model_type = json.loads((folder / "config.json").read_bytes())["model_type"]
    except (OSError, ValueError, KeyError) as error:
        raise BackboneError(
            f"{spec.source} has no config.json with a model_type.", remedy="Name a folder that save_pretrained wrote."
        ) from error
    return PreparedBackbone(kind=spec.kind, source=spec.source, revision=revision, model_type=model_type)


@cache_forever
def _is_unchanged(folder: Path, revision: str) -> bool:
    """Whether a folder is what was prepared; looked up once per process, as a live arm loads its backbone often."""
    return _digest_folder(folder) == revision


def _digest_folder(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of the files that are loaded."""
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise BackboneError(
            f"{folder} holds no safetensors weights; pickle files are never loaded."
            if folder.is_dir()
            else f"There is no folder {folder}.",
            remedy="Name a folder that save_pretrained wrote.",
        )
    digests = {}
    for path in files:
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return content_hash(digests)
