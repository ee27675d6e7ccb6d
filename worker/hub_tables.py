"""Data sets of the hub, as tables: one for each split that is published and can be used."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.contract.data_files import check_columns, is_url
from worker.contract.errors import DataError
from worker.contract.machine import is_of_the_machine
from worker.contract.plan import DataSpec
from worker.events import log
from worker.hub import HubFailure, fetch_dataset
from worker.splits import SPLITS, Split
from worker.tables import VALUE_KINDS, Table, TableRow

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder, DatasetDict

_HELD_BACK = -1
"""Class of examples whose class is not published, as in the test splits of GLUE."""

_USABLE_TYPES = {
    "string",
    "large_string",
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
"""Column types whose values can be texts, class names or names of splits."""


def load_hub_tables(spec: DataSpec, commit: str, cache: Path) -> list[Table]:
    """Fetch a hub data set and load it with ``datasets``.

    Raises:
        DataError: It cannot be loaded, or lacks a column.
        HubUnreachableError: The download failed.
    """
    import datasets  # noqa: PLC0415 - two seconds to import, and not needed for files
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError  # noqa: PLC0415

    datasets.disable_progress_bars()
    try:
        folder = fetch_dataset(spec.source, commit, cache)
        # By commit: datasets knows a local folder by path and time alone.
        builder = datasets.load_dataset_builder(str(folder), spec.subset, cache_dir=str(cache / "datasets" / commit))
        _check_files(spec, folder, builder)
        builder.download_and_prepare()
        loaded = builder.as_dataset()
    except HubFailure as failure:
        raise DataError(failure.problem, remedy=failure.remedy) from failure
    except (DatasetGenerationError, DatasetNotFoundError, ValueError, OSError) as error:
        if is_of_the_machine(error):
            raise
        raise DataError(
            f"The data set {spec.source} cannot be loaded: {error.__cause__ or error}",
            remedy="Check that data.source, revision and subset name a hub data set of tables.",
        ) from error
    return [_as_table(spec, split, table) for split, table in _published_splits(spec, loaded).items()]


def _check_files(spec: DataSpec, folder: Path, builder: "DatasetBuilder") -> None:
    """Refuse files that the repository's README names outside its commit: nothing pins them."""
    files = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
    for file in files:
        # Not resolved: in the hub's cache each file is a link.
        if is_url(file) or not Path(os.path.abspath(file)).is_relative_to(folder.absolute()):  # noqa: PTH100 - resolves
            raise DataError(
                f"The README of {spec.source} names {file}, which lies outside of its commit.",
                remedy="Only files of the repository itself are read: name another data set, or that file as "
                "data.source.",
            )


def _published_splits(spec: DataSpec, loaded: "DatasetDict") -> dict[Split | None, "Dataset"]:
    """Return the splits that are used: train, validation and test, unless their classes are held back."""
    from datasets import ClassLabel  # noqa: PLC0415 - as in load_hub_tables

    used: dict[Split | None, Dataset] = {split: loaded[split] for split in SPLITS if split in loaded}
    for split, table in list(used.items()):
        feature = table.features.get(spec.target_column)
        if isinstance(feature, ClassLabel) and set(table.unique(spec.target_column)) == {_HELD_BACK}:
            del used[split]
    used = used or {None: next(iter(loaded.values()))}
    log.info("splits", source=spec.source, used=[split or "first" for split in used], published=list(loaded))
    return used


def _as_table(spec: DataSpec, split: Split | None, table: "Dataset") -> Table:
    from datasets import ClassLabel  # noqa: PLC0415 - as in load_hub_tables

    wanted = spec.wanted_columns()
    check_columns(spec.source, table.column_names, wanted)
    for setting, column in wanted.items():
        feature = table.features[column]
        if not isinstance(feature, ClassLabel) and getattr(feature, "dtype", None) not in _USABLE_TYPES:
            raise DataError(
                f"{spec.source}: column {column!r} (data.{setting}) is of type {feature}.",
                remedy=f"Name a column of {VALUE_KINDS}.",
            )
    target = table.features[spec.target_column]
    classes = tuple(target.names) if isinstance(target, ClassLabel) else ()
    columns = [_values(table, column) for column in wanted.values()]
    rows = (
        TableRow(number, values[0], values[1], values[2] if spec.split_column else None)
        for number, values in enumerate(zip(*columns, strict=True), start=1)
    )
    return Table(spec.source, f"{split or ''} row".lstrip(), rows, split, "split_column" in wanted, classes)


def _values(table: "Dataset", column: str) -> Iterator[Any]:
    """Yield a column's values, classes by name; None where the class is held back."""
    from datasets import ClassLabel  # noqa: PLC0415 - as in load_hub_tables

    feature = table.features[column]
    if isinstance(feature, ClassLabel):
        return (None if value is None or value < 0 else feature.int2str(value) for value in table[column])
    return iter(table[column])
