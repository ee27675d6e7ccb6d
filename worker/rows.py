"""Rows: the values of a table as texts, class names and splits; what is empty is counted, what is wrong is named."""

import reprlib
from collections.abc import Iterator

from worker.contract.errors import DataError
from worker.contract.plan import DataSpec
from worker.splits import SPLIT_NAMES, SourceRow, Split
from worker.tables import VALUE_KINDS, Table, TableRow

_MAX_EMPTY_SHARE = 0.5
"""More rows than this without a text, and the column is taken to be the wrong one."""

_NUM_NAMED = 5


class TableReading:
    """Reads one table's rows, and counts what it leaves out.

    Args:
        table: What is read, once.
        spec: Names the columns.
    """

    def __init__(self, table: Table, spec: DataSpec) -> None:
        """Count from zero; nothing is read yet."""
        self.num_empty = 0
        self._table = table
        self._spec = spec
        self._num_rows = 0
        self._num_without_class = 0
        self._first_without_class: TableRow | None = None
        self._first_by_type: dict[type, TableRow] = {}
        self._first_by_unknown_split: dict[str, TableRow] = {}

    def read(self) -> Iterator[SourceRow]:
        """Yield the rows that have a text.

        Raises:
            DataError: A value is neither text nor class nor split, a row has no class, the table has no rows, or more
                than half of them have no text. What concerns several rows is said after the last.
        """
        for row in self._table.rows:
            self._num_rows += 1
            if row.text is None or (isinstance(row.text, str) and not row.text.strip()):
                self.num_empty += 1
                continue
            if row.target is None or (isinstance(row.target, str) and not row.target.strip()):
                self._num_without_class += 1
                self._first_without_class = self._first_without_class or row
                continue
            split = self._split(row) if self._table.has_split_column else self._table.split
            yield SourceRow(self._text(row), self._class_name(row), split)
        self._check_counts()

    def _text(self, row: TableRow) -> str:
        if not isinstance(row.text, str):
            raise DataError(
                f"{self._table.locate(row)}: column {self._spec.text_column!r} holds {reprlib.repr(row.text)}, "
                "which is no text.",
                remedy="Name the column of texts as data.text_column, or put the value into quotes.",
            )
        return self._whole(row.text, self._spec.text_column, row)

    def _class_name(self, row: TableRow) -> str:
        where = f"{self._table.locate(row)}: column {self._spec.target_column!r} holds {reprlib.repr(row.target)}"
        kind = type(row.target)
        if kind not in {str, int, bool}:
            raise DataError(
                f"{where}, which is no class name.",
                remedy=f"Name a column of {VALUE_KINDS} as data.target_column.",
            )
        first = self._first_by_type.setdefault(kind, row)
        if len(self._first_by_type) > 1:
            other = next(each for each in self._first_by_type.values() if each is not first)
            raise DataError(
                f"{where}, but {reprlib.repr(other.target)} in {self._table.unit} {other.number}.",
                remedy="Write all classes as text, or all as whole numbers.",
            )
        return self._whole(str(row.target), self._spec.target_column, row)

    def _whole(self, text: str, column: str, row: TableRow) -> str:
        """Return a text that has a form in UTF-8."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self._table.locate(row)}: column {column!r} holds half a character, "
                f"\\u{ord(text[error.start]):04x} at character {error.start + 1}.",
                remedy="Remove it: it is what is left of an emoji that was cut in two.",
            ) from error
        return text

    def _split(self, row: TableRow) -> Split | None:
        split = SPLIT_NAMES.get(row.split.strip().lower()) if isinstance(row.split, str) else None
        if split is None and len(self._first_by_unknown_split) < _NUM_NAMED:
            self._first_by_unknown_split.setdefault(reprlib.repr(row.split), row)
        return split

    def _check_counts(self) -> None:
        name, spec = self._table.name, self._spec
        if not self._num_rows:
            raise DataError(f"{name} has no rows.", remedy="Name a source with labelled texts.")
        if self.num_empty > _MAX_EMPTY_SHARE * self._num_rows:
            raise DataError(
                f"{name}: {self.num_empty} of {self._num_rows} rows have no text in column {spec.text_column!r}.",
                remedy="Name the column that holds the texts as data.text_column. Up to half of the rows may be empty; "
                "these are left out.",
            )
        if self._first_without_class:
            raise DataError(
                f"{self._table.locate(self._first_without_class)}: column {spec.target_column!r} holds no class; "
                f"{self._num_without_class} of {self._num_rows} rows have none.",
                remedy="Remove those rows, or give them a class.",
            )
        if self._first_by_unknown_split:
            values = ", ".join(self._first_by_unknown_split)
            first = next(iter(self._first_by_unknown_split.values()))
            raise DataError(
                f"{self._table.locate(first)}: column {spec.split_column!r} holds {values}, which is no split.",
                remedy=f"Write one of {', '.join(SPLIT_NAMES)} into every row.",
            )
