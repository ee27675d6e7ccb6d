"""Plan files: from TOML and ``--set`` to a ``Plan``, with every problem named at once."""

import difflib
import errno
import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worker.contract.arms import Arm
from worker.contract.data_files import find_form, is_local_file, read_header
from worker.contract.errors import ConfigError, DataError
from worker.contract.plan import DataSpec, Plan, TrainingSettings
from worker.contract.secrets import holds_secret

MAX_PLAN_BYTES = 2**20
"""More is no plan, but a file of another kind, or a device that never ends."""

MAX_HEADER_BYTES = 2**20
"""Of a data file, that the command reads."""

_TABLES: dict[str, type[BaseModel]] = {"": Plan, "data": DataSpec, "training": TrainingSettings, "arms": Arm}
_DATA_FILES = ("source", "validation_source", "test_source")
"""Settings of the data that can name a file."""

_ARM_KEYS = ("label", "backbone", "revision", "allow_code", "mode")


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a plan file.

    Relative paths of data files and backbone folders are read from the plan file's folder.

    Args:
        path: TOML file.
        overrides: ``key=value`` pairs with dotted keys, as ``training.steps=50``; values are TOML, or else text.

    Raises:
        ConfigError: Names every problem: where, which value, what is allowed.
    """
    document = _read_document(path)
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


def _read_document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read_bounded(path).decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"There is no plan {path}.", remedy="Check the path; plans/ has examples.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The plan {path} cannot be read: {error}.", remedy="A plan is a TOML text file.") from error
    except (ValueError, RecursionError) as error:  # more than TOMLDecodeError: numbers too long, lists too deep
        raise ConfigError(f"The plan {path} is not TOML: {error}.", remedy="Mend this line.") from error


def _read_bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_PLAN_BYTES + 1)
    if len(content) > MAX_PLAN_BYTES:
        raise OSError(errno.EFBIG, f"it is longer than {MAX_PLAN_BYTES} bytes")
    return content


def _override(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {override!r} is not key=value.", remedy="Write for example --set training.steps=50.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
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
    if isinstance(data, dict):
        for key in _DATA_FILES:
            if isinstance(data.get(key), str) and is_local_file(data[key]):
                data[key] = _resolve(data[key], folder)
    for arm in document.get("arms", []) if isinstance(document.get("arms"), list) else []:
        holder, key = (arm, "backbone") if isinstance(arm, dict) else ({}, "")
        if isinstance(holder.get("backbone"), dict):
            holder, key = holder["backbone"], "source"
        if str(holder.get(key, "")).startswith(("./", "../", "~")):
            holder[key] = _resolve(holder[key], folder)


def _resolve(path: str, folder: Path) -> str:
    """Make a path absolute and keep its last name: a link into the hub's cache points at a name without a suffix."""
    if "\0" in path:
        return path  # names no file, which is said where files are looked for
    own = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser fails where nobody has such a home
    return os.path.abspath(folder / own)  # noqa: PTH100 - Path.absolute keeps ".."


def _check_files(plan: Plan) -> None:
    """Refuse what is certain to fail before anything is started."""
    for key in _DATA_FILES:
        source = getattr(plan.data, key)
        if source is not None and is_local_file(source):
            _check_data_file(plan.data, key, Path(source))
    for arm in plan.arms:
        source = arm.backbone.source
        if arm.backbone.kind == "gguf" and not os.path.isfile(source):  # noqa: PTH113 - as in _check_data_file
            raise ConfigError(
                f"Arm {arm.label!r}: there is no file {source}.",
                remedy="Relative paths are read from the plan file's folder.",
            )
        if arm.backbone.kind == "folder" and not os.path.isfile(f"{source}/config.json"):  # noqa: PTH113 - as above
            raise ConfigError(
                f"Arm {arm.label!r}: {source} is not a folder with a config.json.",
                remedy="Name a folder that save_pretrained wrote, or a .gguf file; relative paths are read from the "
                "plan file's folder.",
            )


def _check_data_file(data: DataSpec, key: str, path: Path) -> None:
    """Refuse a file that is not there, or whose header lacks a column."""
    if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file, false for a name too long or a folder closed to us
        raise ConfigError(
            f"data.{key}: there is no file {path}.", remedy="Relative paths are read from the plan file's folder."
        )
    form = find_form(path.name)
    if form in {"csv", "tsv"}:
        try:
            wanted = data.wanted_columns(is_split=key != "source")
            read_header(path, str(path), form, wanted, max_bytes=MAX_HEADER_BYTES)
        except DataError as error:
            raise ConfigError(f"data.{key}: {error.problem}", remedy=error.remedy) from error
        except OSError as error:
            raise ConfigError(
                f"data.{key}: {path} cannot be read now: {error.strerror}.", remedy="Check the disk, then try again."
            ) from error


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
                given = detail["input"]
                is_shown = not isinstance(given, dict | list) and not holds_secret(str(given))
                shown = f" (given: {given!r})" if is_shown else ""
                message = detail["msg"].removeprefix("Value error, ")
                yield f"{where}: {message}{shown}" if where else f"{message}{shown}"


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
