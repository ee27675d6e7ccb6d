"""What is known of a model before it is loaded: its kind, whether it can be used, and whether it brings code.

What cannot work is said here, before anything heavy is imported or run.
"""

import reprlib
from pathlib import Path
from typing import Any, NamedTuple

from worker.contract.arms import BackboneSpec, OwnCode
from worker.contract.errors import BackboneError
from worker.model_files import check_beside, missing_weights, read_json

_FROM_ELSEWHERE = "--"
"""Stands in ``auto_map`` between another repository and the class that it holds.

Source: transformers 5.23, dynamic_module_utils.get_class_from_dynamic_module.
"""


class ModelFacts(NamedTuple):
    """What is known of a model before it is loaded."""

    model_type: str
    own_code: tuple[OwnCode, ...]


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
    config = read_json(folder / "config.json")
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
    if names := missing_weights(folder, spec.source):
        raise BackboneError(
            f"{spec.source} lacks {len(names)} of its files of weights: {', '.join(names[:3])}.",
            remedy="Complete the download or the copy.",
        )
    return ModelFacts(config["model_type"], _own_code(spec, folder, config, revision))


def _own_code(spec: BackboneSpec, folder: Path, config: dict[str, Any], revision: str) -> tuple[OwnCode, ...]:
    """Return what only code that comes with the model can load; it is run for nothing else, allowed or not."""
    tokenizer = read_json(folder / "tokenizer_config.json")
    classes: dict[OwnCode, list[str]] = {
        "model": _classes(config, f"{spec.source}: config.json"),
        "tokenizer": _classes(tokenizer, f"{spec.source}: tokenizer_config.json"),
    }
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
    files = {f"{name.rsplit('.', 1)[0]}.py" for name in classes}
    for name in files:
        check_beside(name, f"{spec.source}: auto_map")
    missing = {name for name in files if not (folder / name).exists()}
    if missing:
        raise BackboneError(f"{what}, and lacks {min(missing)}.", remedy="Put the file beside config.json.")


def _classes(config: dict[str, Any], where: str) -> list[str]:
    """Return the classes that ``auto_map`` names: a string, or for tokenizers a slow and a fast one, or null."""
    auto_map = config.get("auto_map")
    values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    names = [name for value in values for name in (value if isinstance(value, list) else [value]) if name]
    if not all(isinstance(name, str) for name in names):
        raise BackboneError(
            f"{where} has an auto_map that names no classes: {reprlib.repr(auto_map)}.",
            remedy='Write it as transformers does, such as {"AutoModel": "modeling_own.OwnModel"}, or leave it out.',
        )
    return names
