"""Trouble of the machine while something is prepared: it may pass, and is no fault of the data or the backbone."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import pyarrow as pa
import pytest
from pyarrow import parquet

from worker.contract.data_files import read_lines
from worker.contract.errors import BackboneError, DataError
from worker.contract.machine import is_of_the_machine
from worker.contract.plan import DataSpec
from worker.gguf_files import read_gguf
from worker.model_files import digest_file
from worker.pretrained import explaining
from worker.sources import pin_source
from worker.tables import open_table


@contextmanager
def no_file_to_spare() -> Iterator[None]:
    """Let this process open no more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


READERS: dict[str, Callable[[Path], object]] = {
    "a backbone": digest_file,
    "a gguf file": lambda path: read_gguf(path, "it"),
    "a source": lambda path: pin_source(DataSpec(source=str(path)), path.parent),
    "lines": lambda path: list(read_lines(path, "it")),
    "a table": lambda path: list(open_table(path, str(path), DataSpec(source="it.parquet")).rows),
}


@pytest.mark.parametrize("what", READERS)
def test_too_many_open_files_are_not_blamed_on_what_was_to_be_read(tmp_path: Path, what: str) -> None:
    assert gguf
    path = tmp_path / "it.parquet"
    parquet.write_table(pa.table({"text": ["a"], "label": ["b"]}), path)

    with no_file_to_spare(), pytest.raises(OSError, match="Too many open files") as caught:
        READERS[what](path)

    assert is_of_the_machine(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        MemoryError(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError("Not enough disk space. Needed: 1 GB"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
    ids=repr,
)
def test_what_the_machine_lacks_is_raised_as_it_is_also_from_within(error: Exception) -> None:
    outer = ValueError("An error occurred while generating the dataset")
    outer.__cause__ = error

    assert is_of_the_machine(error)
    with pytest.raises(ValueError, match="An error occurred"), explaining("it", "Mend it."):
        raise outer


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file"), ValueError("torn"), EOFError()])
def test_what_is_wrong_with_a_file_is_not_the_machines(error: Exception) -> None:
    assert not is_of_the_machine(error)
    with pytest.raises(BackboneError), explaining("it", "Mend it."):
        raise error


def test_a_file_that_is_not_there_is_still_wrong_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        pin_source(DataSpec(source=str(tmp_path / "none.csv")), tmp_path)
