"""The files of a model: which of a folder's are loaded, what they hash to, and whether the weights are all there."""

import json
import os
import reprlib
from pathlib import Path
from typing import Any

from worker.cache_files import hash_file
from worker.contract.errors import BackboneError
from worker.contract.machine import is_of_the_machine
from worker.contract.records import content_hash

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.spm", "*.tiktoken", "*.codes")
"""What is loaded of a model: configuration, weights as safetensors, tokenizer. Never pickle."""

CODE_FILES = "*.py"
"""What is loaded as well where an arm allows it."""

_MAX_NAME_BYTES = 255
"""Of a file, on the file systems of Linux."""

_WEIGHTS = "model.safetensors"
_INDEX_ENDING = ".safetensors.index.json"
"""Of the file that says in which file each weight is, where there are several."""


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file of a backbone.

    Raises:
        BackboneError: It cannot be read.
    """
    try:
        return hash_file(path)
    except OSError as error:
        if is_of_the_machine(error):
            raise
        raise BackboneError(
            f"The backbone {path} cannot be read: {error.strerror}.", remedy="Check the path and its permissions."
        ) from error


def digest_folder(folder: Path, *, with_code: bool) -> str:
    """Return the SHA-256 over the names and bytes of the files that are loaded.

    Raises:
        BackboneError: There is no folder, or it holds no safetensors.
    """
    if not folder.is_dir():
        raise BackboneError(
            f"There is no folder {folder}.", remedy="Name a folder that save_pretrained wrote, or a .gguf file."
        )
    patterns = (*MODEL_FILES, CODE_FILES) if with_code else MODEL_FILES
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise BackboneError(
            f"{folder} holds no safetensors weights; pickle files are never loaded.",
            remedy=remedy_for_weights([path.name for path in folder.iterdir()], f"{folder}/"),
        )
    return content_hash({path.name: digest_file(path) for path in files})


def remedy_for_weights(names: list[str], place: str) -> str:
    """Say what to do about a model without safetensors, by the names of the files that it has."""
    gguf = sorted(name for name in names if name.lower().endswith(".gguf"))
    if gguf:
        return f"It holds GGUF files: put one on disk and name it, as in backbone = {(place + gguf[0])!r}."
    return (
        "Convert them where you trust their origin (load the model with transformers, then save_pretrained), and name "
        "that folder; or name a revision that has safetensors."
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty if there is no such file or it holds something else."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):  # the last: too many brackets
        return {}
    return document if isinstance(document, dict) else {}


def missing_weights(folder: Path, source: str) -> list[str]:
    """Return the files of weights that a folder should hold and does not.

    Raises:
        BackboneError: An index names no files, or files that lie elsewhere, which no revision pins.

    Source:
        transformers 5.23, modeling_utils._get_resolved_checkpoint_files, for which file is taken.
    """
    indices = {path.name: _read_shards(path, source) for path in folder.glob(f"*{_INDEX_ENDING}")}
    weights = read_json(folder / "config.json").get("transformers_weights")
    if weights is None:
        index = f"model{_INDEX_ENDING}"
        weights = _WEIGHTS if (folder / _WEIGHTS).exists() or index not in indices else index
    check_beside(weights, f"{source}: config.json")
    return [name for name in (weights, *indices.get(weights, ())) if not (folder / name).exists()]


def _read_shards(index: Path, source: str) -> list[str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BackboneError(
            f"{source} has an {index.name} whose weight_map does not say in which file each weight is.",
            remedy="Save the model again (save_pretrained), or complete the download or the copy.",
        )
    for shard in weight_map.values():
        check_beside(shard, f"{source}: {index.name}")
    return sorted(set(weight_map.values()))


def check_beside(name: object, where: str) -> None:
    """Refuse a file that does not lie directly in its folder: no revision would pin it.

    Args:
        name: As a file of the model names it.
        where: What names it, for the message.

    Raises:
        BackboneError: It lies elsewhere, or is no name.
    """
    is_name = isinstance(name, str) and name.isprintable() and len(os.fsencode(name)) <= _MAX_NAME_BYTES
    if not is_name or "\\" in str(name) or Path(str(name)).name != name or name in {"", ".."}:
        raise BackboneError(
            f"{where} names {reprlib.repr(name)}, which is no file beside config.json.",
            remedy="Put all files of the model into one folder, and name them without their folder.",
        )
