"""Objects: bytes under paths, in a folder or on any fsspec file system, put and read whole.

A local file is written under a temporary name, flushed to the disk and renamed. An object store has no rename and no
append: every object is put whole, and read by one request, so that what is read is one version of it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec

from worker.contract.errors import ConfigError, ResultError
from worker.contract.local_files import write_file_atomically
from worker.contract.patience import PATIENCE_SECONDS, Patience
from worker.contract.trouble import describe, is_not_implemented, suggest_remedy

_S3_OPTIONS: dict[str, Any] = {
    # One attempt, because the waiting is done here; one request per object, so that nothing is read half old, half new.
    "config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 15},
    "max_concurrency": 1,
}
_OPTIONS = {"s3": _S3_OPTIONS, "s3a": _S3_OPTIONS}
_PUT_SECONDS, _PUT_BYTES_PER_SECOND = 20.0, 100_000
"""How long putting an object may take: for connection and answer, and for its size."""

Returned = TypeVar("Returned")


class ObjectStore:
    """Reads and writes whole objects below one root.

    Args:
        url: Folder or fsspec URL of the root.
        patience_seconds: How long a store that does not answer is asked again. Counted from its first silence, over all
            calls: a store that is gone for good holds nobody up twice.

    Raises:
        ConfigError: The URL's file system is unknown or not installed.
    """

    def __init__(self, url: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Open the file system of ``url``; nothing is created before the first write."""
        self.url = url
        self._patience = Patience(url, patience_seconds)
        options = _OPTIONS.get(url.partition("://")[0], {})
        try:
            _check_place(url)
            # Without listings kept in memory: others write here too.
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
            if hasattr(self._fs, "retries"):
                self._fs.retries = 1  # s3fs asks five times five times, whatever its client was told
        except (ValueError, ImportError, OSError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"The results store {url!r} cannot be opened: {describe(error)}.",
                remedy="Name a folder, or a URL whose file system is installed (s3:// needs s3fs).",
            ) from error
        self._is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def give_up(self) -> None:
        """Have no patience from now on; whoever waits for the store in another thread gets its error at once."""
        self._patience.give_up()

    def locate(self, path: PurePosixPath) -> str:
        """Return where an object lies, for messages."""
        return "/".join([self.url.rstrip("/"), *path.parts])

    def local_path(self, path: PurePosixPath) -> Path | None:
        """Return where an object lies on this machine; None if the store is not a folder."""
        return Path(self._root, path) if self._is_local else None

    def write(self, path: PurePosixPath, content: bytes) -> None:
        """Put one object whole.

        Raises:
            StoreError: It could not be put; what was there before is still there.
        """
        put = partial(write_file_atomically, Path(self._root, path), content)
        self._call("written", path, put if self._is_local else self._putter(path, content))

    def create(self, path: PurePosixPath, content: bytes) -> bool:
        """Put one object where there is none, and say whether that was so.

        Not every file system keeps two from doing this at once; S3, Google Cloud Storage and Azure do. One that knows
        no condition puts the object whatever was there.
        """
        put = self._putter(path, content)

        def create() -> object:
            try:
                return put(mode="create")
            except Exception as error:
                if not is_not_implemented(error):
                    raise
            return put()

        try:
            self._call("created", path, create, FileExistsError)
        except FileExistsError:
            return False
        return True

    def read(self, path: PurePosixPath) -> bytes | None:
        """Return an object's bytes, or None if there is none.

        Raises:
            ResultError: There is a folder, or a file where a folder should be.
            StoreError: The store cannot be read.
        """
        expected = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
        try:
            return bytes(self._call("read", path, partial(self._fs.cat_file, self._full(path)), *expected))
        except FileNotFoundError:
            return None
        except (IsADirectoryError, NotADirectoryError) as error:
            raise ResultError(
                f"{self.locate(path)} cannot be read: {describe(error)}.", remedy=suggest_remedy(error)
            ) from error

    def delete(self, path: PurePosixPath) -> None:
        """Remove one object if it is there."""
        try:
            self._call("deleted", path, partial(self._fs.rm_file, self._full(path)), FileNotFoundError)
        except FileNotFoundError:
            return

    def seconds_between(self, earlier: PurePosixPath, later: PurePosixPath) -> float | None:
        """Return how much later one object was put than another, by the store's own clock; None if either is gone."""
        try:
            first, second = (
                self._call("looked at", path, partial(self._fs.modified, self._full(path)), FileNotFoundError)
                for path in (earlier, later)
            )
        except FileNotFoundError:
            return None
        return float((second - first).total_seconds())

    def names(self, folder: PurePosixPath) -> list[str]:
        """Return the sorted names directly below a folder; empty if there is no such folder.

        Names that start with a dot (locks, unfinished files) are left out.
        """
        return sorted(name for name, _ in self._list(folder))

    def folder_names(self, folder: PurePosixPath) -> list[str]:
        """Return those of the names below a folder that are folders themselves, or links to folders."""
        return sorted(name for name, is_folder in self._list(folder) if is_folder)

    def walk(self, folder: PurePosixPath) -> list[PurePosixPath]:
        """Return every object below a folder, relative to the store's root and sorted; empty without such a folder.

        Names that start with a dot (locks, unfinished files) are left out, and folders of such names.
        """
        strictly = {"on_error": "raise"} if self._is_local else {}
        find = partial(self._fs.find, self._full(folder), **strictly)
        try:
            found = self._call("listed", folder, find, FileNotFoundError)
        except FileNotFoundError:
            return []
        paths = (PurePosixPath(str(each).removeprefix(self._root).lstrip("/")) for each in found)
        return sorted(path for path in paths if not any(part.startswith(".") for part in path.parts))

    def _list(self, folder: PurePosixPath) -> Iterator[tuple[str, bool]]:
        list_folder = partial(self._fs.ls, self._full(folder), detail=True)
        try:
            entries = self._call("listed", folder, list_folder, FileNotFoundError)
        except FileNotFoundError:
            return
        for entry in entries:
            name = PurePosixPath(entry["name"]).name
            if not name.startswith("."):
                # Of a link fsspec tells no more than that it is one.
                yield name, entry["type"] == "directory" or (self._is_local and Path(entry["name"]).is_dir())

    def _full(self, path: PurePosixPath) -> str:
        """Return a path as the file system knows it; of the root too, where no ``.`` may be left."""
        return "/".join([self._root, *path.parts])

    def _putter(self, path: PurePosixPath, content: bytes) -> Callable[..., object]:
        # A client that waits to be let send waits for ever; fsspec's own limit ends that, where the client is async.
        seconds = _PUT_SECONDS + len(content) / _PUT_BYTES_PER_SECOND
        limit = {"timeout": seconds} if self._fs.async_impl else {}
        return partial(self._fs.pipe_file, self._full(path), content, **limit)

    def _call(
        self, done: str, path: PurePosixPath, action: Callable[[], Returned], *expected: type[Exception]
    ) -> Returned:
        return self._patience.call(done, self.locate(path), action, *expected)


def _check_place(url: str) -> None:
    """Refuse what names no place; an empty name would be the current folder."""
    scheme, separator, place = url.rpartition("://")
    has_root = scheme in {"file", "memory"} if separator else place.startswith("/")
    if not has_root and not place.strip(" /"):
        msg = "it names no place"
        raise ValueError(msg)
