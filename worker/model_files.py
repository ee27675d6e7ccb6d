"""The files of a model: which of a folder's are loaded, whether they are whole, and whether they bring code.

What cannot work is said here, before anything heavy is imported or run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from worker.contract.arms import BackboneSpec, OwnCode
from worker.contract.errors import BackboneError
from worker.contract.records import content_hash

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.spm", "*.tiktoken", "*.codes")
"""What is loaded of a model: configuration, weights as safetensors, tokenizer. Never pickle."""

CODE_FILES = "*.py"
"""What is loaded as well where an arm allows it."""

_INDEX = "model.safetensors.index.json"
_FROM_ELSEWHERE = "--"
"""Stands in ``auto_map`` between another repository and the class that it holds.

Source: transformers 5.23, dynamic_module_utils.get_class_from_dynamic_module.
"""


class ModelFacts(NamedTuple):
    """What is known of a model before it is loaded."""

    model_type: str
    own_code: tuple[OwnCode, ...]


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        BackboneError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
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


def describe_model(spec: BackboneSpec, folder: Path, revision: str) -> ModelFacts:
    """Read what kind of model a folder holds, and refuse what could not be loaded or trained.

    Args:
        spec: As in the plan.
        folder: Where the files are.
        revision: What to pin, in a message about code.

    Raises:
        BackboneError: It is an adapter, quantised, lacks a file, or needs code that the arm does not allow.
    """
    if (folder / "adapter_config.json").exists():
        raise BackboneError(
            f"{spec.source} is an adapter (adapter_config.json), not a whole model.",
            remedy="Merge it into its base model (peft: merge_and_unload, then save_pretrained) and name that folder.",
        )
    config = _read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise BackboneError(
            f"{spec.source} has no config.json with a model_type.", remedy="Name a folder that save_pretrained wrote."
        )
    if config.get("quantization_config"):
        quantization = config["quantization_config"]
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise BackboneError(
            f"{spec.source} is quantised ({method}); frozen and live arms need its weights as floating point numbers.",
            remedy="Name the repository or folder that it was made from.",
        )
    _check_shards(spec.source, folder)
    return ModelFacts(config["model_type"], _own_code(spec, folder, config, revision))


def _read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty if there is no such file or it holds something else."""
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _check_shards(source: str, folder: Path) -> None:
    if (folder / "model.safetensors").exists() or not (folder / _INDEX).exists():
        return
    shards = set(dict(_read_json(folder / _INDEX).get("weight_map", {})).values())
    missing = sorted(shard for shard in shards if not (folder / shard).exists())
    if missing or not shards:
        raise BackboneError(
            f"{source} lacks {len(missing)} of the {len(shards)} files that {_INDEX} names: {', '.join(missing[:3])}.",
            remedy="Complete the download or the copy.",
        )


def _own_code(spec: BackboneSpec, folder: Path, config: dict[str, Any], revision: str) -> tuple[OwnCode, ...]:
    """Return what only code that comes with the model can load; it is run for nothing else, allowed or not."""
    tokenizer = _read_json(folder / "tokenizer_config.json")
    classes: dict[OwnCode, list[str]] = {"model": _classes(config), "tokenizer": _classes(tokenizer)}
    if not any(classes.values()):
        return ()
    from transformers import CONFIG_MAPPING  # noqa: PLC0415 - seconds, and rare
    from transformers.models.auto.tokenization_auto import (  # noqa: PLC0415
        TOKENIZER_MAPPING_NAMES,
        tokenizer_class_from_name,
    )

    if config["model_type"] in CONFIG_MAPPING:
        classes["model"] = []
    if config["model_type"] in TOKENIZER_MAPPING_NAMES or (
        tokenizer_class_from_name(str(tokenizer.get("tokenizer_class"))) is not None
    ):
        classes["tokenizer"] = []
    own_code = tuple(part for part, names in classes.items() if names)
    if own_code:
        _check_code(spec, folder, sorted({name for names in classes.values() for name in names}), revision)
    return own_code


def _check_code(spec: BackboneSpec, folder: Path, classes: list[str], revision: str) -> None:
    """Refuse code that is not allowed, or that lies where nothing pins it."""
    what = f"{spec.source} can only be loaded by code of its own ({', '.join(classes)})"
    elsewhere = [name for name in classes if _FROM_ELSEWHERE in name]
    if elsewhere:
        raise BackboneError(
            f"{what}, and {elsewhere[0]} lies in another repository, where this arm does not pin it.",
            remedy="Copy the model and that code into one folder, take what stands before -- out of auto_map, "
            "and name the folder.",
        )
    if not spec.allow_code:
        pin = f' and revision = "{revision}"' if spec.kind == "hub" else ""
        raise BackboneError(
            f"{what}, and code is not run unless its arm allows it.",
            remedy=f"Read that code; to run it, write allow_code = true{pin} in the arm.",
        )
    missing = {f"{name.rsplit('.', 1)[0]}.py" for name in classes}
    missing = {name for name in missing if not (folder / name).exists()}
    if missing:
        raise BackboneError(f"{what}, and lacks {min(missing)}.", remedy="Put the file beside config.json.")


def _classes(config: dict[str, Any]) -> list[str]:
    """Return the classes that ``auto_map`` names: a string, or for tokenizers a slow and a fast one, or null."""
    auto_map = config.get("auto_map")
    values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    return [name for value in values for name in (value if isinstance(value, list) else [value]) if name]
