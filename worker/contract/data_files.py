"""Files of labelled texts: the forms that are read, told by name, and the lines and records of those that are text.

Both sides need it: the worker reads whole files, the command looks at a header before anything is started.
"""

import csv
import gzip
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedIOBase
from itertools import chain, count
from pathlib import Path
from typing import Literal, cast

from worker.contract.errors import DataError
from worker.contract.machine import is_of_the_machine

DataForm = Literal["csv", "tsv", "jsonl", "parquet"]

DATA_FORMS = ".csv, .tsv, .jsonl (each also as .gz) or .parquet"
"""The names of files that are read, for messages."""

_FORM = re.compile(r"\.(?:(csv|tsv|jsonl)(?:\.gz)?|(parquet))$", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NUM_SHOWN = 20
_NAME_LENGTH = 60  # characters of a name that a message shows

MAX_LINE_BYTES = 2**26
"""Of a line of text, unpacked. More is no line: a small packed file may hold one that fills any memory."""


def is_url(source: str) -> bool:
    """Whether a source is read through fsspec instead of from a path."""
    return "://" in source


def find_form(source: str) -> DataForm | None:
    """Tell the form of a file by the end of its path or URL; None if it is none of those that are read."""
    name = re.split(r"[?#]", source, maxsplit=1)[0] if is_url(source) else source
    match = _FORM.search(name)
    return cast("DataForm", (match[1] or match[2]).lower()) if match else None


def is_local_file(source: str) -> bool:
    """Whether a source is a path to a data file."""
    return find_form(source) is not None and not is_url(source)


def read_lines(path: Path, name: str, *, max_bytes: int | None = None) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with their ends; packed files are unpacked, a byte order mark is left out.

    Args:
        path: Where the file lies.
        name: What messages call it.
        max_bytes: Of all lines that are asked for; only each line is bounded when left out.

    Raises:
        DataError: It cannot be read or unpacked, is not UTF-8, or a line is longer than ``MAX_LINE_BYTES``.
        OSError: The machine or its disk is in trouble.
    """
    try:
        with path.open("rb") as raw:
            # By content, not by name: some servers unpack what they send.
            file = gzip.GzipFile(fileobj=raw) if raw.peek(len(_GZIP)).startswith(_GZIP) else raw
            for number, line in enumerate(_bounded_lines(file, name, max_bytes), start=1):
                content = line.removeprefix(_UTF8_MARK) if number == 1 else line
                for part in content.splitlines(keepends=True):
                    yield _decode(part, f"{name}, line {number}")
    except (OSError, EOFError, zlib.error) as error:
        if is_of_the_machine(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"The data file {name} cannot be read: {reason}.", remedy="Check that it is whole.") from error


def _bounded_lines(file: BufferedIOBase, name: str, max_bytes: int | None) -> Iterator[bytes]:
    num_left = max_bytes
    for number in count(1):
        limit = MAX_LINE_BYTES if num_left is None else min(MAX_LINE_BYTES, num_left)
        line = file.readline(limit + 1)
        if not line:
            return
        if len(line) > limit:
            raise DataError(
                f"{name}, line {number}: it does not end within {limit} bytes.",
                remedy="Check that it is a file of lines; a line may have "
                f"{MAX_LINE_BYTES} bytes, a header that the command reads less.",
            )
        if num_left is not None:
            num_left -= len(line)
        yield line


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if line.startswith(_UTF16_MARKS) else "LATIN1"
        raise DataError(
            f"{where}: byte {error.start + 1} of the line is 0x{line[error.start]:02x}, which is not UTF-8.",
            remedy=f"Save the file as UTF-8, for example with: iconv -f {encoding} -t UTF-8 OLD > NEW",
        ) from error


def read_records(
    path: Path, name: str, form: DataForm, *, max_bytes: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV or TSV file, each with the line on which it starts; blank lines are left out.

    Args:
        path: Where the file lies.
        name: What messages call it.
        form: ``csv`` or ``tsv``.
        max_bytes: As in ``read_lines``.

    Raises:
        DataError: It cannot be read, is not UTF-8, or has a quote where none can be.
    """
    csv.field_size_limit(sys.maxsize)  # 131,072 characters otherwise, and a text may be longer
    lines = read_lines(path, name, max_bytes=max_bytes)
    records = csv.reader(lines, delimiter="\t" if form == "tsv" else ",", strict=True)
    while True:
        start = records.line_num + 1
        try:
            record = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{name}, line {start}: the quotes of this record do not close: {error}.",
                remedy='Put a text that holds quotes into double quotes, and double each quote in it: "say ""hi""".',
            ) from error
        if record:
            yield start, record


def read_header(
    path: Path, name: str, form: DataForm, wanted: Mapping[str, str], *, max_bytes: int | None = None
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header of a CSV or TSV file, and the records below it.

    Args:
        path: Where the file lies.
        name: What messages call it.
        form: ``csv`` or ``tsv``.
        wanted: The columns that must be there, by the setting that names each.
        max_bytes: As in ``read_lines``.

    Raises:
        DataError: It cannot be read, is empty, or lacks a column.
    """
    records = read_records(path, name, form, max_bytes=max_bytes)
    _, header = next(records, (0, list[str]()))
    if not header:
        raise DataError(f"{name} is empty.", remedy="Name a file with a header and rows.")
    check_columns(name, header, wanted)
    return header, records


def shorten_name(name: str) -> str:
    """Return a name, or the beginning of one that is too long for a message."""
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def check_columns(name: str, columns: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Refuse a table that lacks a column, or has it twice.

    Args:
        name: What messages call the table.
        columns: Those it has.
        wanted: Those that are needed, by the setting that names each.

    Raises:
        DataError: Names the column, its setting and the columns that there are.
    """
    times = Counter(columns)
    shown = ", ".join(chain(map(shorten_name, columns[:_NUM_SHOWN]), ["…"] if len(columns) > _NUM_SHOWN else []))
    for setting, column in wanted.items():
        if not times[column]:
            raise DataError(
                f"{name} has no column {column!r} (data.{setting}); it has {shown or 'none'}.",
                remedy=f"Set data.{setting} to one of them.",
            )
        if times[column] > 1:
            raise DataError(
                f"{name} has {times[column]} columns named {column!r} (data.{setting}).",
                remedy="Give each column a name of its own.",
            )
