"""Sources of data: the built-in set, files and hub data sets, as rows of text and class name."""

import csv
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from worker.contract.config import SplitSizes
from worker.contract.errors import DataError
from worker.contract.plan import LANGUAGE_NAMES, DataSpec
from worker.events import log
from worker.hub import HubFailure, fetch_dataset, resolve_revision
from worker.language_names import CLASSES, load_language_names
from worker.splits import SPLITS, SourceRow, Split

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_HELD_BACK = -1
"""Class of examples whose class is not published, as in the test splits of GLUE."""

_FILE_BUILDERS = {".csv": "csv", ".jsonl": "json"}
_CLASS_TYPES = {
    "string",
    "large_string",
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
"""Column types whose values can be class names."""


def pin_source(spec: DataSpec) -> str | None:
    """Return what identifies the source's content: nothing for builtin, a file's hash, or a hub commit.

    Raises:
        DataError: There is no such file or repository.
    """
    if spec.source == LANGUAGE_NAMES:
        return None
    path = Path(spec.source).expanduser()
    if path.suffix in _FILE_BUILDERS:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(
                f"The data file {path} cannot be read: {error.strerror}.", remedy="Check the path."
            ) from error
    try:
        return resolve_revision(spec.source, spec.revision, "dataset")
    except HubFailure as failure:
        raise DataError(failure.problem, remedy=failure.remedy) from failure


def load_source(spec: DataSpec, revision: str | None, cache: Path) -> tuple[Iterator[SourceRow], tuple[str, ...]]:
    """Return the rows of a pinned source, and its class names in the order of their indices.

    Raises:
        DataError: The source cannot be read, lacks a column, or has a row without text or class.
    """
    if spec.source == LANGUAGE_NAMES:
        wanted = SplitSizes(train=spec.train_examples, validation=spec.validation_examples, test=spec.test_examples)
        return load_language_names(wanted, spec.split_seed), CLASSES
    tables = _load_tables(spec, revision, cache)
    classes = _class_names(spec, tables)
    return _rows(spec, tables), classes


def _load_tables(spec: DataSpec, revision: str | None, cache: Path) -> dict[Split | None, "Dataset"]:
    """Load a file or a hub data set with ``datasets``; keys are the splits that the source publishes."""
    import datasets  # noqa: PLC0415 - two seconds to import, and not needed for what is prepared already
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError  # noqa: PLC0415

    datasets.disable_progress_bars()
    path = Path(spec.source).expanduser()
    builder = _FILE_BUILDERS.get(path.suffix)
    if builder and path.stat().st_size == 0:
        raise DataError(f"{spec.source} is empty.", remedy="Name a file with a header and rows, or with JSON lines.")
    # By content: datasets knows a local file by path and time alone, and would give the old rows of a changed one.
    cache_dir = str(cache / "datasets" / str(revision))
    try:
        if builder == "csv":
            columns = _csv_columns(spec, path)
            # Everything is text here: a class named "NA" or "01" must stay what the file says.
            table = datasets.load_dataset(
                "csv",
                data_files=str(path),
                split="train",
                cache_dir=cache_dir,
                usecols=columns,
                features=datasets.Features(dict.fromkeys(columns, datasets.Value("string"))),
                keep_default_na=False,
            )
            return {None: table}
        if builder == "json":
            return {None: datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=cache_dir)}
        folder = fetch_dataset(spec.source, str(revision), cache)
        loaded = datasets.load_dataset(str(folder), spec.subset, cache_dir=cache_dir)
    except HubFailure as failure:
        raise DataError(failure.problem, remedy=failure.remedy) from failure
    except (DatasetGenerationError, DatasetNotFoundError, csv.Error, ValueError, OSError) as error:
        raise DataError(
            f"The data set {spec.source} cannot be loaded: {error.__cause__ or error}",
            remedy="Check that the file is well formed, or that data.source, revision and subset name a hub data set.",
        ) from error
    return _published_splits(spec, loaded)


def _published_splits(spec: DataSpec, loaded: "DatasetDict") -> dict[Split | None, "Dataset"]:
    """Return the splits that are used: train, validation and test, unless their classes are held back."""
    from datasets import ClassLabel  # noqa: PLC0415 - as in _load_tables

    used: dict[Split | None, Dataset] = {split: loaded[split] for split in SPLITS if split in loaded}
    for split, table in list(used.items()):
        feature = table.features.get(spec.target_column)
        if isinstance(feature, ClassLabel) and set(table.unique(spec.target_column)) == {_HELD_BACK}:
            del used[split]
    used = used or {None: next(iter(loaded.values()))}
    log.info("splits", source=spec.source, used=[split or "first" for split in used], published=list(loaded))
    return used


def _csv_columns(spec: DataSpec, path: Path) -> list[str]:
    """Return the two columns that are read, after a look at the shape of every row, which ``datasets`` would mend."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        _check_columns(spec, header)
        for row in reader:
            if row and len(row) != len(header):
                raise DataError(
                    f"{spec.source}, line {reader.line_num}: {len(row)} fields, the header has {len(header)}.",
                    remedy="Put texts that hold commas into double quotes.",
                )
    return [name for name in header if name in {spec.text_column, spec.target_column}]


def _check_columns(spec: DataSpec, columns: list[str]) -> None:
    for setting, column in (("text_column", spec.text_column), ("target_column", spec.target_column)):
        if column not in columns:
            raise DataError(
                f"{spec.source} has no column {column!r} (data.{setting}); it has {', '.join(columns) or 'none'}.",
                remedy=f"Set data.{setting} to one of them.",
            )


def _class_names(spec: DataSpec, tables: dict[Split | None, "Dataset"]) -> tuple[str, ...]:
    """Return the names that the source declares, or else the distinct values in order, numbers by value."""
    from datasets import ClassLabel  # noqa: PLC0415 - as in _load_tables

    for table in tables.values():
        _check_columns(spec, table.column_names)
    feature = next(iter(tables.values())).features[spec.target_column]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names)
    if getattr(feature, "dtype", None) not in _CLASS_TYPES:
        raise DataError(
            f"{spec.source}: the values of {spec.target_column!r} are not class names (they are {feature}).",
            remedy="Name a column of text or whole numbers as data.target_column.",
        )
    values = {value for table in tables.values() for value in table.unique(spec.target_column)}
    if values & {None, ""}:
        raise DataError(
            f"{spec.source} has rows without a value in {spec.target_column!r}.",
            remedy="Remove those rows, or give them a class.",
        )
    return tuple(str(value) for value in sorted(values, key=lambda value: (_as_number(value), str(value))))


def _as_number(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return math.inf
    return math.inf if math.isnan(number) else number


def _rows(spec: DataSpec, tables: dict[Split | None, "Dataset"]) -> Iterator[SourceRow]:
    from datasets import ClassLabel  # noqa: PLC0415 - as in _load_tables

    for split, table in tables.items():
        feature = table.features[spec.target_column]
        texts, targets = table[spec.text_column], table[spec.target_column]
        for number, (text, target) in enumerate(zip(texts, targets, strict=True), start=1):
            if not isinstance(text, str) or not text.strip():
                raise DataError(
                    f"{spec.source}, {split or 'row'} {number}: column {spec.text_column!r} holds {text!r}.",
                    remedy="Every example needs a text: remove the row or fill it in.",
                )
            if target is None or (isinstance(feature, ClassLabel) and target < 0):
                raise DataError(
                    f"{spec.source}, {split or 'row'} {number}: column {spec.target_column!r} holds {target!r}.",
                    remedy="Every example needs a class: remove the row or fill it in.",
                )
            name = feature.int2str(target) if isinstance(feature, ClassLabel) else str(target)
            yield SourceRow(text, name, split)
