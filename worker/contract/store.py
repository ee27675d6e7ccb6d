"""The results store: where each record lies, and how one is put there whole.

Any fsspec URL will do. A local file is written under a temporary name, flushed to the disk and renamed, so that a
reader sees the old bytes or the new ones, never half. An object store has no rename and no append: every object is put
whole.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

import fsspec
from pydantic import ValidationError

from worker.contract.errors import ComparisonBusyError, ConfigError, ResultError
from worker.contract.records import Record, canonical_json
from worker.contract.results import Attempt, EvalPoint, Prediction, RunResult

AnyRecord = TypeVar("AnyRecord", bound=Record)


PROGRESS_FILE = "progress.json"
"""In an arm's folder: how far its worker is."""


def arm_folder(comparison: str, arm: str) -> PurePosixPath:
    """Return the folder of one arm."""
    return PurePosixPath(comparison, "runs", arm)


def run_folder(comparison: str, arm: str, seed: int) -> PurePosixPath:
    """Return the folder of one run."""
    return arm_folder(comparison, arm) / f"seed-{seed}"


def write_file_atomically(path: Path, content: bytes) -> None:
    """Put a local file whole: temporary name, flush to disk, rename, flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same call; os names the syscall
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def only_run_of(store: "ResultsStore", comparison: str) -> Iterator[None]:
    """Keep a second process from running the same comparison, where the store is a folder.

    Two would take each other's curves for their own. The lock ends with the process, however it ends. Object stores
    have no locks: there it is up to who starts the runs.

    Raises:
        ComparisonBusyError: Another process holds it.
    """
    folder = store.local_path(PurePosixPath(comparison))
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ComparisonBusyError(
                f"The comparison {comparison!r} in {store.url} is being run by another process.",
                remedy="Wait for it, or give this plan another name.",
            ) from error
        yield


class ResultsStore:
    """Reads and writes records below one root.

    Args:
        url: Folder or fsspec URL of the root.

    Raises:
        ConfigError: The URL's file system is unknown or not installed.
    """

    def __init__(self, url: str) -> None:
        """Open the file system of ``url``; nothing is created before the first write."""
        self.url = url
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"The results store {url} cannot be opened: {error}.",
                remedy="Name a folder, or a URL whose file system is installed (s3:// needs s3fs).",
            ) from error
        self._is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def locate(self, path: PurePosixPath) -> str:
        """Return where a record lies, for messages."""
        return f"{self.url.rstrip('/')}/{path}"

    def local_path(self, path: PurePosixPath) -> Path | None:
        """Return where a record lies on this machine; None if the store is not a folder."""
        return Path(self._root, path) if self._is_local else None

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Put one object whole."""
        full = f"{self._root}/{path}"
        if self._is_local:
            write_file_atomically(Path(full), content)
        else:
            self._fs.pipe_file(full, content)

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return an object's bytes, or None if there is none."""
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{path}"))
        except FileNotFoundError:
            return None

    def delete(self, path: PurePosixPath) -> None:
        """Remove one object if it is there."""
        try:
            self._fs.rm_file(f"{self._root}/{path}")
        except FileNotFoundError:
            return

    def names(self, folder: PurePosixPath) -> list[str]:
        """Return the sorted names directly below a folder; empty if there is no such folder."""
        try:
            entries = self._fs.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(entry).name for entry in entries)

    def write_record(self, path: PurePosixPath, record: Record) -> None:
        """Put one record as readable JSON."""
        self.write(path, (record.model_dump_json(indent=2) + "\n").encode())

    def read_record(self, path: PurePosixPath, form: type[AnyRecord]) -> AnyRecord | None:
        """Read one record, or None if there is none.

        Raises:
            ResultError: The object is not a record of this form.
        """
        content = self.read(path)
        if content is None:
            return None
        try:
            return form.model_validate_json(content)
        except ValidationError as error:
            raise _not_a_record(self.locate(path), form, error) from error

    def write_rows(self, path: PurePosixPath, rows: Iterable[Record]) -> bytes:
        """Put rows as JSON lines and return the bytes."""
        content = encode_rows(rows)
        self.write(path, content)
        return content

    def read_rows(self, path: PurePosixPath, form: type[AnyRecord]) -> list[AnyRecord]:
        """Read JSON lines; empty if there is no such object.

        Raises:
            ResultError: A line is not a record of this form.
        """
        try:
            return [form.model_validate_json(line) for line in (self.read(path) or b"").splitlines()]
        except ValidationError as error:
            raise _not_a_record(self.locate(path), form, error) from error


def encode_rows(rows: Iterable[Record]) -> bytes:
    """Return rows as canonical JSON lines: equal rows give equal bytes."""
    return "".join(canonical_json(row.model_dump(mode="json")) + "\n" for row in rows).encode()


def _not_a_record(location: str, form: type[Record], error: ValidationError) -> ResultError:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"])) or "the whole text"
    return ResultError(
        f"{location} is not a {form.__name__}: {field}: {first['msg']}.",
        remedy="It was written by another version, cut off, or is not ours: move it away and run the arm again.",
    )


class RunRecords:
    """The records of one run: the files below ``runs/<arm>/seed-<n>/``."""

    def __init__(self, store: ResultsStore, comparison: str, arm: str, seed: int) -> None:
        """Name the run; nothing is read yet."""
        folder = run_folder(comparison, arm, seed)
        self.store = store
        self.config = folder / "config.json"
        self.curve = folder / "curve.jsonl"
        self.predictions = folder / "predictions.jsonl"
        self.result = folder / "result.json"
        self.attempts = folder / "attempts.jsonl"

    def read_result(self) -> RunResult | None:
        """Return the finished result, or None."""
        return self.store.read_record(self.result, RunResult)

    def read_curve(self) -> list[EvalPoint]:
        """Return the rows written so far."""
        return self.store.read_rows(self.curve, EvalPoint)

    def read_predictions(self) -> list[Prediction]:
        """Return the predictions of a finished run."""
        return self.store.read_rows(self.predictions, Prediction)

    def read_attempts(self) -> list[Attempt]:
        """Return every start so far, the running one included."""
        return self.store.read_rows(self.attempts, Attempt)
