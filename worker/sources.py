"""Sources of data: the built-in set, files here or elsewhere, and hub data sets, as rows of text and class name."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from worker.cache_files import hash_file
from worker.contract.config import SplitSizes
from worker.contract.data_files import find_form, is_url
from worker.contract.errors import DataError, SourceChangedError
from worker.contract.machine import is_of_the_machine
from worker.contract.plan import LANGUAGE_NAMES, DataSpec
from worker.contract.records import content_hash
from worker.hub import HubFailure, resolve_revision
from worker.hub_tables import load_hub_tables
from worker.language_names import CLASSES, load_language_names
from worker.remote_files import fetch_file
from worker.rows import TableReading
from worker.splits import SourceRow, Split
from worker.tables import Table, open_table

_SETTINGS: dict[str, Split | None] = {"source": None, "validation_source": "validation", "test_source": "test"}
"""The settings that can name a file, and the split that the file is."""


@dataclass(frozen=True, slots=True)
class PinnedSource:
    """A source whose content is known and, if it is files, on this machine."""

    revision: str | None
    """Nothing for builtin, a file's hash, a hub commit, or a hash over those of several."""
    commit: str | None
    """Of a hub data set."""
    files: Mapping[str, Path]
    """Where each file lies, by its setting."""
    hashes: Mapping[str, str]
    """SHA-256 of each file, by its setting."""


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What a source gives once rows without a text are left out."""

    rows: list[SourceRow]
    classes: tuple[str, ...]
    """In the order of their indices."""
    num_empty_dropped: int = 0


def pin_source(spec: DataSpec, cache: Path, *, only_look: bool = False) -> PinnedSource | None:
    """Find out what identifies the source's content; remote files are fetched for it.

    Args:
        spec: The source.
        cache: Folder shared by all workers.
        only_look: Return None instead of fetching a file that is not in the cache.

    Raises:
        DataError: There is no such file or repository.
        HubUnreachableError: The hub does not answer now.
        SourceUnreachableError: The host of a file does not answer now.
    """
    if spec.source == LANGUAGE_NAMES:
        return PinnedSource(None, None, {}, {})
    commit = None
    files: dict[str, Path] = {}
    hashes: dict[str, str] = {}
    for setting in _SETTINGS:
        source = getattr(spec, setting)
        if source is None:
            continue
        if find_form(source) is None:
            commit = _resolve_commit(spec)
            continue
        path = fetch_file(source, cache, only_look=only_look) if is_url(source) else _local_path(source)
        if path is None:
            return None
        files[setting] = path
        hashes[setting] = path.name if is_url(source) else _hash_local(path)
    revisions = hashes if commit is None else {"source": commit, **hashes}
    revision = revisions["source"] if len(revisions) == 1 else content_hash(revisions)
    return PinnedSource(revision, commit, files, hashes)


def _resolve_commit(spec: DataSpec) -> str:
    try:
        return resolve_revision(spec.source, spec.revision, "dataset")
    except HubFailure as failure:
        raise DataError(failure.problem, remedy=failure.remedy) from failure


def _local_path(source: str) -> Path:
    return Path(os.path.expanduser(source))  # noqa: PTH111 - Path.expanduser fails where nobody has such a home


def _hash_local(path: Path) -> str:
    try:
        return hash_file(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if is_of_the_machine(error):
            raise
        reason = getattr(error, "strerror", error)
        raise DataError(f"The data file {path} cannot be read: {reason}.", remedy="Check the path.") from error


def load_source(spec: DataSpec, pinned: PinnedSource, cache: Path) -> SourceRows:
    """Read the rows of a pinned source.

    Raises:
        DataError: The source cannot be read, lacks a column, or has a value that is no text, class or split.
        HubUnreachableError: A hub data set could not be fetched.
        SourceChangedError: A file changed since it was pinned.
    """
    if spec.source == LANGUAGE_NAMES:
        wanted = SplitSizes(train=spec.train_examples, validation=spec.validation_examples, test=spec.test_examples)
        return SourceRows(list(load_language_names(wanted, spec.split_seed)), CLASSES)
    tables = load_hub_tables(spec, pinned.commit, cache) if pinned.commit else []
    for setting, path in pinned.files.items():
        name = getattr(spec, setting)
        split = _SETTINGS[setting]
        tables = [table for table in tables if split is None or table.split != split]  # an own file replaces it
        tables.append(open_table(path, name, spec, split))
    try:
        rows = _collect(spec, tables)
    except DataError:
        _check_unchanged(spec, pinned)  # half of a file that is being written is wrong in many ways
        raise
    _check_unchanged(spec, pinned)
    return rows


def _check_unchanged(spec: DataSpec, pinned: PinnedSource) -> None:
    for setting, path in pinned.files.items():
        if not path.exists() or hash_file(path) != pinned.hashes[setting]:
            raise SourceChangedError(
                f"The data file {getattr(spec, setting)} changed while it was read.",
                remedy="Wait until nobody writes to it, and try again.",
            )


def _collect(spec: DataSpec, tables: Iterable[Table]) -> SourceRows:
    rows: list[SourceRow] = []
    declared: dict[str, None] = {}
    num_empty = 0
    for table in tables:
        declared.update(dict.fromkeys(table.classes))
        reading = TableReading(table, spec)
        rows.extend(reading.read())
        num_empty += reading.num_empty
    found = {row.class_name for row in rows}.difference(declared)
    classes = chain(declared, sorted(found, key=lambda name: (_as_number(name), name)))
    return SourceRows(rows, tuple(classes), num_empty)


def _as_number(name: str) -> float:
    try:
        number = float(name)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(number) else number
