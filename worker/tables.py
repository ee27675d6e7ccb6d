"""Tables: rows of text, class and split as a file has them, whatever its form.

What the values mean is not decided here. Rows are read one after the other, and only the columns that are needed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from worker.contract.data_files import DataForm, check_columns, find_form, read_header, read_lines
from worker.contract.errors import DataError
from worker.contract.machine import is_of_the_machine
from worker.contract.plan import DataSpec
from worker.splits import Split

_MAX_COLUMNS = 1000
"""Columns of JSON lines that are remembered for a message."""

VALUE_KINDS = "text, whole numbers or truth values"
"""What the values of a column can be, for messages."""


class TableRow(NamedTuple):
    """The values of one row, as the file has them; None where it has none."""

    number: int
    """Of the line on which the row starts, or of the row, from 1."""
    text: Any
    target: Any
    split: Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, and what messages call them."""

    name: str
    unit: str
    """What rows are counted in, as "line"."""
    rows: Iterator[TableRow]
    split: Split | None = None
    """The split that the whole table is."""
    has_split_column: bool = False
    """Whether each row says its split itself."""
    classes: tuple[str, ...] = ()
    """Class names in the order of their indices, if the source declares them."""

    def locate(self, row: TableRow) -> str:
        """Return where a row stands, for messages."""
        return f"{self.name}, {self.unit} {row.number}"


def open_table(path: Path, name: str, spec: DataSpec, split: Split | None = None) -> Table:
    """Open a data file; its rows are read as they are asked for.

    Args:
        path: Where the file lies.
        name: As in the plan; tells the form, and is what messages call it.
        spec: Names the columns.
        split: The split that the whole file is; its split column is not read.

    Raises:
        DataError: At once or with a row: it cannot be read, is not well formed, or lacks a column.
    """
    form = find_form(name)
    wanted = spec.wanted_columns(is_split=split is not None)
    match form:
        case "csv" | "tsv":
            rows = _read_records(path, name, form, wanted)
        case "jsonl":
            rows = _read_json_lines(path, name, wanted)
        case _:
            rows = _read_parquet(path, name, wanted)
    return Table(name, "row" if form == "parquet" else "line", rows, split, "split_column" in wanted)


def _read_records(path: Path, name: str, form: DataForm, wanted: Mapping[str, str]) -> Iterator[TableRow]:
    header, records = read_header(path, name, form, wanted)
    places = [header.index(column) for column in wanted.values()]
    for line, record in records:
        if len(record) != len(header):
            raise DataError(
                f"{name}, line {line}: {len(record)} fields, the header has {len(header)}.",
                remedy=f"Put texts that hold {'tabs' if form == 'tsv' else 'commas'} into double quotes.",
            )
        yield _row(line, [record[place] for place in places])


def _read_json_lines(path: Path, name: str, wanted: Mapping[str, str]) -> Iterator[TableRow]:
    columns: dict[str, None] = {}
    number = 0
    for number, line in enumerate(read_lines(path, name), start=1):
        if line.isspace():
            continue
        document = _read_object(line, f"{name}, line {number}")
        if len(columns) < _MAX_COLUMNS:
            columns.update(dict.fromkeys(document))
        yield _row(number, [document.get(column) for column in wanted.values()])
    if not number:
        raise DataError(f"{name} is empty.", remedy="Name a file with JSON lines.")
    check_columns(name, list(columns), wanted)


def _read_object(line: str, where: str) -> dict[str, Any]:
    remedy = 'Write one JSON object per line, such as {"text": "Good news", "label": "sports"}.'
    try:
        document = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error.msg} (character {error.pos + 1}).", remedy=remedy) from error
    except (ValueError, RecursionError) as error:  # a number of too many digits; too many brackets
        raise DataError(f"{where} cannot be read: {error}.", remedy=remedy) from error
    if not isinstance(document, dict):
        raise DataError(f"{where} is a {type(document).__name__}, not an object with columns.", remedy=remedy)
    return document


def _read_parquet(path: Path, name: str, wanted: Mapping[str, str]) -> Iterator[TableRow]:
    import pyarrow as pa  # noqa: PLC0415 - not needed for other files
    from pyarrow import parquet  # noqa: PLC0415

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            check_columns(name, schema.names, wanted)
            for setting, column in wanted.items():
                _check_parquet_type(f"{name}: column {column!r} (data.{setting})", schema.field(column).type)
            rows = chain.from_iterable(
                zip(*(batch.column(column).to_pylist() for column in wanted.values()), strict=True)
                for batch in file.iter_batches(columns=list(wanted.values()))
            )
            for number, values in enumerate(rows, start=1):
                yield _row(number, values)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if is_of_the_machine(error):
            raise
        raise DataError(
            f"{name} cannot be read as Parquet, after row {number}: {error}.", remedy="Check that the file is whole."
        ) from error


def _check_parquet_type(where: str, kind: Any) -> None:  # noqa: ANN401 - pyarrow has no types
    from pyarrow import types  # noqa: PLC0415 - as in _read_parquet

    value = kind.value_type if types.is_dictionary(kind) else kind
    tests = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_boolean)
    if not (types.is_null(value) or any(test(value) for test in tests)):
        raise DataError(f"{where} is of type {kind}.", remedy=f"Name a column of {VALUE_KINDS}.")


def _row(number: int, values: Sequence[Any]) -> TableRow:
    text, target, *split = values
    return TableRow(number, text, target, split[0] if split else None)
