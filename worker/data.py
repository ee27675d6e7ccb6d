"""Data sets: from a source to three pinned splits in the cache.

``prepare_data`` runs once per comparison; every arm then reads the same files with ``load_split``.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from worker.contract.config import PreparedData, SplitSizes
from worker.contract.errors import DataError
from worker.contract.plan import LANGUAGE_NAMES, DataSpec
from worker.contract.records import canonical_json, content_hash
from worker.contract.store import write_file_atomically
from worker.hub import HubFailure, fetch_dataset, resolve_revision
from worker.language_names import CLASSES, load_language_names
from worker.splits import SPLITS, Example, SourceRow, Split, SplitExamples, split_rows

if TYPE_CHECKING:
    from datasets import Dataset

_FILE_BUILDERS = {".csv": "csv", ".jsonl": "json"}
_DATA_RECIPE = 1
"""Raised when the same source would be split otherwise than before."""


def prepare_data(spec: DataSpec, cache: Path, *, only_look: bool = False) -> PreparedData | None:
    """Load, deduplicate and split a data set, once.

    Args:
        spec: The source and the sizes.
        cache: Folder shared by all workers.
        only_look: Return None instead of loading a set that is not in the cache.

    Returns:
        The pinned data set, whose splits ``load_split`` reads from the cache.

    Raises:
        DataError: The source cannot be read, or cannot be split as asked.
    """
    revision = _pin(spec)
    request = content_hash({"spec": spec.model_dump(mode="json"), "revision": revision, "recipe": _DATA_RECIPE})
    answer = cache / "data" / "requests" / f"{request}.json"
    if answer.exists():
        return PreparedData.model_validate_json(answer.read_bytes())
    if only_look:
        return None
    rows, classes = _load_rows(spec, revision, cache)
    wanted = SplitSizes(train=spec.train_examples, validation=spec.validation_examples, test=spec.test_examples)
    splits = split_rows(rows, classes, wanted, spec.split_seed)
    contents = {split: _encode(getattr(splits, split)) for split in SPLITS}
    prepared = _describe(spec, revision, splits, contents)
    for split in SPLITS:
        write_file_atomically(_split_path(cache, prepared.digest, split), contents[split])
    write_file_atomically(answer, prepared.model_dump_json(indent=2).encode())
    return prepared


def load_split(cache: Path, data: PreparedData, split: Split) -> list[Example]:
    """Read one split of a prepared data set.

    Raises:
        DataError: The cache does not hold it.
    """
    path = _split_path(cache, data.digest, split)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise DataError(
            f"The {split} split of {data.source} is not in the cache ({path}).",
            remedy="Run the prepare step with this cache, or let the comparison run it.",
        ) from None
    return [Example(**json.loads(line)) for line in lines]


def _split_path(cache: Path, digest: str, split: Split) -> Path:
    return cache / "data" / digest / f"{split}.jsonl"


def _encode(examples: Iterable[Example]) -> bytes:
    return "".join(canonical_json({"text": row.text, "target": row.target}) + "\n" for row in examples).encode()


def _describe(
    spec: DataSpec, revision: str | None, splits: SplitExamples, contents: dict[Split, bytes]
) -> PreparedData:
    parts = [list(splits.classes), *(hashlib.sha256(contents[split]).hexdigest() for split in SPLITS)]
    return PreparedData(
        source=spec.source,
        revision=revision,
        digest=content_hash(parts),
        classes=splits.classes,
        num_examples=splits.sizes,
        num_train_available=splits.num_train_available,
        num_duplicates_dropped=splits.num_duplicates_dropped,
        num_conflicts_dropped=splits.num_conflicts_dropped,
        majority_accuracy=splits.majority_accuracy,
    )


def _pin(spec: DataSpec) -> str | None:
    """Return what identifies the source's content: nothing for builtin, a file's hash, or a hub commit."""
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


def _load_rows(spec: DataSpec, revision: str | None, cache: Path) -> tuple[Iterator[SourceRow], tuple[str, ...]]:
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
    cache_dir = str(cache / "datasets")
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
    except (DatasetGenerationError, DatasetNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"The data set {spec.source} cannot be loaded: {error.__cause__ or error}",
            remedy="Check that the file is well formed, or that data.source, revision and subset name a hub data set.",
        ) from error
    return {split: loaded[split] for split in SPLITS if split in loaded} or {None: next(iter(loaded.values()))}


def _csv_columns(spec: DataSpec, path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
    _check_columns(spec, header)
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
    values = {value for table in tables.values() for value in table.unique(spec.target_column)}
    if None in values:
        raise DataError(
            f"{spec.source} has rows without a value in {spec.target_column!r}.",
            remedy="Remove those rows, or give them a class.",
        )
    if any(isinstance(value, float | list | dict) for value in values):
        raise DataError(
            f"{spec.source}: the values of {spec.target_column!r} are not class names.",
            remedy="Name a column of text or whole numbers as data.target_column.",
        )
    return tuple(str(value) for value in sorted(values, key=lambda value: (_as_number(value), str(value))))


def _as_number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return float("inf")


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
            name = feature.int2str(target) if isinstance(feature, ClassLabel) else str(target)
            yield SourceRow(text, name, split)
