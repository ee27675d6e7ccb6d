"""Local files, put whole: a reader sees the old bytes or the new ones, never half."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 600.0
"""Age at which an unfinished file is no writer's any more; writing one touches it all the time."""

_UNFINISHED = ".part"


def write_file_atomically(path: Path, content: bytes) -> None:
    """Put a local file whole: temporary name, flush to disk, rename, flush the folder.

    A writer that is killed leaves a file whose name starts with a dot. Nothing reads it, and
    ``remove_unfinished_files`` takes it away later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
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


def remove_unfinished_files(folder: Path) -> None:
    """Take away what killed writers left below a folder, once it is old enough to be nobody's."""
    for path in folder.rglob(f".*{_UNFINISHED}"):
        with suppress(FileNotFoundError):  # finished meanwhile
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()
