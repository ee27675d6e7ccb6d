"""Checkpoints: what a worker needs to go on after it was ended, as if nothing had happened.

Each file is one moment. It is written under a temporary name, flushed to the disk, and then renamed to a name that
ends in its SHA-256: a file that was torn in whatever way is not what its name says, and is passed over.

Checkpoints lie in the cache. They may take many times the size of a result, and losing one costs time alone.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from worker.contract.config import RunConfig
from worker.contract.records import content_hash
from worker.device import device_name, package_versions
from worker.events import log
from worker.lifecycle import uninterrupted

NUM_KEPT = 2
"""Checkpoints of one training on the disk: if the newest is torn, the one before it serves."""

MAX_WRITING_SHARE = 0.05
"""Share of a worker's time that may go into checkpoints; where writing takes long, they are further apart."""

_PROBE_BYTES = 64 * 2**20
_NAME = re.compile(r"(?P<stem>[0-9-]+)\.(?P<sha256>[0-9a-f]{64})\.pt")

State = dict[str, Any]
"""Tensors, numbers, texts, and lists and dictionaries of them: what ``torch.load(weights_only=True)`` reads."""


class CheckpointFolder:
    """The checkpoints of one training.

    Args:
        folder: Where they lie; made when it is needed.
        interval_seconds: Time between two of them.
    """

    def __init__(self, folder: Path, interval_seconds: float) -> None:
        """Nothing is read yet."""
        self._folder = folder
        self._interval_seconds = interval_seconds
        self._written_at = time.monotonic()
        self._seconds_to_write = 0.0

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        interval = max(self._interval_seconds, self._seconds_to_write / MAX_WRITING_SHARE)
        return time.monotonic() - self._written_at >= interval

    def write(self, step: int, state: State) -> None:
        """Keep one moment and forget all but the last two. A disk that is full costs the checkpoint, not the run."""
        started = time.monotonic()
        try:
            path = write_whole(self._folder, f"{step:09d}", state)
        except OSError as error:
            log.error("checkpoint not written", step=step, error=str(error))
        else:
            log.info("checkpoint", step=step, num_bytes=path.stat().st_size)
            for older in _newest_first(self._folder)[NUM_KEPT:]:
                older.unlink(missing_ok=True)
        self._written_at = time.monotonic()
        self._seconds_to_write = self._written_at - started

    def append(self, first: int, end: int, state: State) -> None:
        """Keep a piece of work, from one number up to another; all pieces stay."""
        try:
            write_whole(self._folder, f"{first:09d}-{end:09d}", state)
        except OSError as error:
            log.error("checkpoint not written", step=end, error=str(error))
        self._written_at = time.monotonic()

    def read_newest(self) -> State | None:
        """Return the newest moment that is whole, or None."""
        return next((state for path in _newest_first(self._folder) if (state := read_whole(path))), None)

    def read_pieces(self) -> Iterator[State]:
        """Yield the pieces that are whole, in their order."""
        for path in reversed(_newest_first(self._folder)):
            if state := read_whole(path):
                yield state

    def delete(self) -> None:
        """Forget everything: what the checkpoints were for is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def measure_writing(self, num_bytes: int) -> float:
        """Return how many seconds a checkpoint of a size will take here, judged by writing a part of it."""
        probe = bytes(min(num_bytes, _PROBE_BYTES))
        started = time.monotonic()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / f".probe.{os.getpid()}").open("wb") as file:
                Path(file.name).unlink()
                file.write(hashlib.sha256(probe).digest())
                file.write(probe)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.error("checkpoints cannot be written", folder=str(self._folder), error=str(error))
        return (time.monotonic() - started) * num_bytes / max(1, len(probe))


class ArmCheckpoints:
    """The checkpoints of one arm, for as long as it is not done.

    They belong to exactly this experiment on exactly these surroundings: another device, thread count or library
    version would go on with other bits, so it starts anew.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Forget the checkpoints of other settings of this arm: nobody will ask for them again."""
        execution = config.execution
        self._interval_seconds = execution.checkpoint_seconds
        self._arm = Path(execution.cache, "checkpoints", _arm_name(config))
        settings = [
            config.identity(0).address,
            execution.tokens_per_batch,
            execution.fresh_since,
            torch.get_num_threads(),
            device_name(device),
            package_versions(),
        ]
        self._folder = self._arm / content_hash(settings)[:16]
        for other in self._arm.glob("*"):
            if other != self._folder:
                log.info("checkpoints of other settings removed", folder=str(other))
                shutil.rmtree(other, ignore_errors=True)

    def of(self, training: str) -> CheckpointFolder:
        """Return the checkpoints of one part of the arm's work, by name."""
        return CheckpointFolder(self._folder / training, self._interval_seconds)

    def delete(self) -> None:
        """Forget everything: the arm is done."""
        shutil.rmtree(self._arm, ignore_errors=True)


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
    """Return what a checkpoint file holds, or None if it is not what its name says."""
    name = _NAME.fullmatch(path.name)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if name is None or sha256 != name["sha256"]:
        log.warning("torn checkpoint passed over", path=str(path))
        return None
    state: State = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
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


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.pt")), reverse=True)


def _arm_name(config: RunConfig) -> str:
    """Return a folder name that people can read and that two stores never share."""
    return f"{config.comparison}.{config.arm.slug}.{content_hash(config.execution.results)[:12]}"
