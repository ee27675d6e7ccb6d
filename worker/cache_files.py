"""Files of the cache: known by their hash, put on disk whole, and cleared of what killed writers left."""

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from worker.contract.local_files import remove_unfinished_files

MAKING = ".making-"
"""Begins the name of a folder in which a backbone is made."""

FETCHING = ".fetching-"
"""Begins the name of a folder into which a file is fetched."""

ABANDONED_SECONDS = 86_400.0
"""Age at which such a folder is nobody's any more: its maker was killed."""

_WITH_FOLDERS = {"backbones": MAKING, "remote": FETCHING}
_WITH_FILES = ("data", "tokens", "features", "backbones/requests")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Have everything below a folder reach the disk, so that a rename of it never outlives its content."""
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(cache: Path) -> None:
    """Take away what killed writers left in the cache, once it is old enough to be nobody's."""
    for name in _WITH_FILES:
        remove_unfinished_files(cache / name)
    for name, prefix in _WITH_FOLDERS.items():
        for left in (cache / name).glob(f"{prefix}*"):
            with suppress(FileNotFoundError):  # finished, or taken away by another process, meanwhile
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
