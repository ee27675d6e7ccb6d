"""Checkpoint files: each is one moment, and whole or passed over.

A file is written under a temporary name, flushed to the disk, and then renamed to a name that ends in its SHA-256: one
that was torn in whatever way is not what its name says.
"""

import hashlib
import os
import pickle
import re
from pathlib import Path
from typing import IO, Any

import torch

from worker.events import log
from worker.lifecycle import uninterrupted

State = dict[str, Any]
"""Tensors, numbers, texts, and lists and dictionaries of them: what ``torch.load(weights_only=True)`` reads."""

CHECKPOINT_NAME = re.compile(r"(?P<stem>[0-9-]+)\.(?P<sha256>[0-9a-f]{64})\.pt")


def write_whole(folder: Path, stem: str, state: State) -> Path:
    """Write one checkpoint file. A signal waits until that is done: torch takes what its handler raises for its own.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stray in folder.glob(".*.tmp"):
        stray.unlink(missing_ok=True)
    temporary = folder / f".{stem}.tmp"
    with uninterrupted():
        try:
            path = folder / f"{stem}.{_save(state, temporary)}.pt"
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return path


def _save(state: State, path: Path) -> str:
    """Write a state to the disk, and return the SHA-256 of its file."""
    with path.open("wb") as file:
        sink = _HashingSink(file)
        try:
            torch.save(state, sink)  # type: ignore[arg-type] # it calls write and flush alone
        except RuntimeError as error:
            raise (sink.error or error) from error
        file.flush()
        os.fsync(file.fileno())
    return sink.sha256.hexdigest()


def read_whole(path: Path) -> State | None:
    """Return what a checkpoint file holds, or None if it is not what its name says; a torn one is taken away."""
    name = CHECKPOINT_NAME.fullmatch(path.name)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if name is None or sha256 != name["sha256"]:
            log.warning("torn checkpoint passed over", path=str(path))
            path.unlink(missing_ok=True)
            return None
        state: State = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        log.warning("checkpoint cannot be read", path=str(path), error=str(error))
        return None
    return state


class _HashingSink:
    """A file that is hashed while it is written. Keeps the error that torch turns into one of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()
