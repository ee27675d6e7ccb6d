"""Plan files: from TOML and ``--set`` to a ``Plan``, with every problem named at once."""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worker.contract.arms import Arm
from worker.contract.errors import ConfigError
from worker.contract.plan import DataSpec, Plan, TrainingSettings

_TABLES: dict[str, type[BaseModel]] = {"": Plan, "data": DataSpec, "training": TrainingSettings, "arms": Arm}
_ARM_KEYS = ("label", "backbone", "revision", "mode")


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a plan file.

    Relative paths of data files and backbone folders are read from the plan file's folder.

    Args:
        path: TOML file.
        overrides: ``key=value`` pairs with dotted keys, as ``training.steps=50``; values are TOML, or else text.

    Raises:
        ConfigError: Names every problem: where, which value, what is allowed.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no plan {path}.", remedy="Check the path; plans/ has examples.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The plan {path} cannot be read: {error}.", remedy="A plan is a TOML text file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The plan {path} is not TOML: {error}.", remedy="Mend this line.") from error
    for override in overrides:
        _override(document, override)
    _resolve_paths(document, path.parent)
    try:
        plan = Plan.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(f"  {line}" for line in _describe(error))
        raise ConfigError(
            f"The plan {path} cannot be used:\n{problems}\n",
            remedy="`freeze-bench schema` prints every key with its meaning and bounds.",
        ) from error
    _check_files(plan)
    return plan


def _override(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override!r} is not key=value.", remedy="Write for example --set training.steps=50.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    table = document
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"--set {override!r}: {parent!r} is not a table.", remedy="Edit the plan file to change single arms."
            )
    table[last] = value


def _resolve_paths(document: dict[str, Any], folder: Path) -> None:
    data = document.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str) and _is_file(data["source"]):
        data["source"] = _resolve(data["source"], folder)
    for arm in document.get("arms", []) if isinstance(document.get("arms"), list) else []:
        if isinstance(arm, dict) and str(arm.get("backbone", "")).startswith(("./", "../", "~")):
            arm["backbone"] = _resolve(arm["backbone"], folder)


def _resolve(path: str, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).resolve())


def _is_file(source: str) -> bool:
    return source.endswith((".csv", ".jsonl")) and "://" not in source


def _check_files(plan: Plan) -> None:
    """Refuse what is certain to fail before anything is started."""
    if _is_file(plan.data.source) and not Path(plan.data.source).is_file():
        raise ConfigError(
            f"data.source: there is no file {plan.data.source}.",
            remedy="Relative paths are read from the plan file's folder.",
        )
    for arm in plan.arms:
        if arm.backbone.kind == "folder" and not (Path(arm.backbone.source) / "config.json").is_file():
            raise ConfigError(
                f"Arm {arm.label!r}: {arm.backbone.source} is not a folder with a config.json.",
                remedy="Name a folder that save_pretrained wrote; relative paths are read from the plan file's folder.",
            )


def _describe(error: ValidationError) -> Iterator[str]:
    for detail in error.errors():
        where = _where(detail["loc"])
        match detail["type"]:
            case "extra_forbidden":
                yield f"{where}: unknown key.{_suggestion(detail)}"
            case "too_short" if detail["input"]:
                continue  # an item of it has a problem of its own, named above
            case "missing":
                yield f"{where}: missing."
            case _:
                given = "" if isinstance(detail["input"], dict | list) else f" (given: {detail['input']!r})"
                message = detail["msg"].removeprefix("Value error, ")
                yield f"{where}: {message}{given}" if where else f"{message}{given}"


def _where(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _suggestion(detail: ErrorDetails) -> str:
    *parents, key = (part for part in detail["loc"] if isinstance(part, str))
    form = _TABLES.get(parents[0] if parents else "", Plan)
    known = _ARM_KEYS if form is Arm else tuple(form.model_fields)
    close = difflib.get_close_matches(key, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" Known keys: {', '.join(known)}."
