"""Checkpoints: what a worker needs to go on after it was ended, as if nothing had happened.

Checkpoints lie in the cache. They may take many times the size of a result, and losing one costs time alone.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from worker.arm_lock import arm_name
from worker.checkpoint_files import CHECKPOINT_NAME, State, read_whole, write_whole
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
        self.newest_moment: object = None
        """Of the last checkpoint that was written here."""

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        interval = max(self._interval_seconds, self._seconds_to_write / MAX_WRITING_SHARE)
        return time.monotonic() - self._written_at >= interval

    def write(self, step: int, state: State, moment: object = None) -> bool:
        """Keep one moment and forget all but the last two. A disk that is full costs the checkpoint, not the run.

        Args:
            step: Orders checkpoints: the highest is the newest.
            state: What is kept.
            moment: What ``newest_moment`` is afterwards.

        Returns:
            Whether it was written.
        """
        started = time.monotonic()
        with uninterrupted():
            is_written = self._write(step, state)
            if is_written:
                self.newest_moment = moment
                for older in _newest_first(self._folder)[NUM_KEPT:]:
                    older.unlink(missing_ok=True)
            self._written_at = time.monotonic()
            self._seconds_to_write = self._written_at - started
        return is_written

    def _write(self, step: int, state: State) -> bool:
        """Write one file; on a full disk, once more in the place of the older of two."""
        error: OSError | None = None
        for _ in range(2):
            try:
                path = write_whole(self._folder, f"{step:09d}", state)
            except OSError as failure:
                error = failure
                older = _newest_first(self._folder)[1:]
                if failure.errno != errno.ENOSPC or not older:
                    break
                for each in older:
                    each.unlink(missing_ok=True)
            else:
                log.info("checkpoint", step=step, num_bytes=path.stat().st_size)
                return True
        log.error("checkpoint not written", step=step, error=str(error))
        return False

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
        """Forget the checkpoints of other settings of this arm but the newest: somebody may go back to those."""
        execution = config.execution
        self._interval_seconds = execution.checkpoint_seconds
        self._arm = Path(execution.cache, "checkpoints", arm_name(config))
        settings = [
            config.identity(0).address,
            execution.tokens_per_batch,
            execution.fresh_since,
            torch.get_num_threads(),
            device_name(device),
            package_versions(),
        ]
        self._folder = self._arm / content_hash(settings)[:16]
        others = [folder for folder in self._arm.glob("*") if folder != self._folder]
        for other in sorted(others, key=lambda folder: folder.stat().st_mtime)[:-1]:
            log.info("checkpoints of other settings removed", folder=str(other))
            shutil.rmtree(other, ignore_errors=True)

    def of(self, training: str) -> CheckpointFolder:
        """Return the checkpoints of one part of the arm's work, by name."""
        return CheckpointFolder(self._folder / training, self._interval_seconds)

    def delete(self) -> None:
        """Forget everything: the arm is done."""
        shutil.rmtree(self._arm, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    """Return the checkpoint files of a folder; what has another name is not ours."""
    return sorted((path for path in folder.glob("*.pt") if CHECKPOINT_NAME.fullmatch(path.name)), reverse=True)
