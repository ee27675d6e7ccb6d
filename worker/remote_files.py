"""Remote data files: fetched whole into the cache, once, and known from then on by the SHA-256 of their content.

Whether the host still has the file that is in the cache is asked of the host, by what it says of the file (its ETag or
time of change). A host that says nothing of the kind is read again each time.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec import AbstractFileSystem

from worker.cache_files import FETCHING, hash_file
from worker.contract.errors import DataError, SourceChangedError, SourceUnreachableError
from worker.contract.records import content_hash
from worker.contract.trouble import describe, lacks_credentials, may_pass, suggest_remedy
from worker.events import log

_STAMPS = ("ETag", "etag", "Last-Modified", "LastModified", "last_modified", "mtime", "updated", "created", "md5Hash")
"""What file systems call that which changes with a file's content."""

_PASSING = frozenset({408, 425, 429})
"""Answers of HTTP below 500 that may be others the next time: too slow, too early, too often."""

_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, ValueError)
"""What will be the same the next time, unless its cause is one that passes."""

_CONNECT_SECONDS = 30
_SILENCE_SECONDS = 60
"""A host that sends nothing for so long is taken to be away. The whole download may take as long as it needs."""


def fetch_file(url: str, cache: Path, *, only_look: bool = False) -> Path | None:
    """Bring a remote file into the cache, or find it there.

    Args:
        url: Any fsspec URL.
        cache: Folder shared by all workers.
        only_look: Return None instead of fetching what is not in the cache.

    Returns:
        Where the file lies; its name is the SHA-256 of its content.

    Raises:
        DataError: There is no such file, it may not be read, or its file system is not installed.
        SourceUnreachableError: The host does not answer now.
        SourceChangedError: What the host says of the file changed while it was fetched.
    """
    with _explained(url):
        files, place = fsspec.core.url_to_fs(url, **_options(url))
        stamp = _read_stamp(files, place)
    is_stamped = any(key in stamp for key in _STAMPS)
    folder = cache / "remote" / content_hash([url, stamp])
    known = [path for path in folder.glob("*") if hash_file(path) == path.name] if is_stamped else []
    if known:
        return known[0]
    if only_look:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=FETCHING, dir=cache / "remote") as temporary:
        arriving = Path(temporary, "file")
        with _explained(url):
            files.get_file(place, str(arriving))
            is_same = _read_stamp(files, place) == stamp
        if not is_same:
            raise SourceChangedError(
                f"{url} changed while it was fetched.", remedy="Wait until nobody writes to it, and try again."
            )
        path = folder / hash_file(arriving)
        os.replace(arriving, path)  # noqa: PTH105 - Path.replace is the same call; os names the syscall
    log.info("fetched", url=url, num_bytes=path.stat().st_size, sha256=path.name)
    return path


def _read_stamp(files: AbstractFileSystem, place: str) -> dict[str, str]:
    """Ask what the host says of a file now, as far as it changes with the content."""
    files.invalidate_cache()
    information = files.info(place)
    return {key: str(information[key]) for key in (*_STAMPS, "size") if information.get(key) is not None}


def _options(url: str) -> dict[str, Any]:
    """Return what the file system of a URL is opened with."""
    if not _is_http(url):
        return {}
    from aiohttp import ClientTimeout  # noqa: PLC0415 - not needed for other file systems

    timeout = ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    return {
        "client_kwargs": {"timeout": timeout, "trust_env": True},  # with proxies and .netrc, as other programs do
        "headers": {"Accept-Encoding": "identity"},  # the file's own bytes, so that a packed one stays packed
    }


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Say of any failure whether it may pass."""
    try:
        yield
    except Exception as error:  # every file system raises what its own library raises; all of it is raised again
        raise _explain(url, error) from error


def _explain(url: str, error: BaseException) -> DataError | SourceUnreachableError:
    if isinstance(error, ImportError):
        return DataError(
            f"{url} cannot be read: {error}.",
            remedy="Install the package of its file system; for s3:// that is pip install 'freeze-bench[s3]'.",
        )
    if lacks_credentials(error):
        return DataError(f"{url} cannot be read: {describe(error)}.", remedy=suggest_remedy(error))
    if _is_http(url) and error.__cause__ is not None:
        error = error.__cause__  # fsspec 2026.9 calls all that goes wrong with HTTP a missing file
    status = getattr(error, "status", None)
    if isinstance(status, int):
        reason = f"HTTP status {status} {getattr(error, 'message', '')}".rstrip()
        is_passing = status >= 500 or status in _PASSING  # noqa: PLR2004 - what HTTP calls the server's fault
    else:
        reason = "no such file" if isinstance(error, FileNotFoundError) else describe(error)
        is_passing = may_pass(error) or not isinstance(error, _FINAL)
    if is_passing:
        return SourceUnreachableError(
            f"{url} could not be had: {reason}.",
            remedy="Check the network, proxies, credentials and the free space of the cache, and try again; "
            "a local file needs no network.",
        )
    return DataError(f"{url} cannot be read: {reason}.", remedy="Check the address, and that it may be read from here.")
