"""Records of a results store, read again and again: parsed when they have changed, and never in the way of others."""

import logging
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

from worker.contract.errors import ResultError, StoreError
from worker.contract.store import ResultsStore

log = logging.getLogger("freeze_bench.metrics")
"""Tells of records that cannot be shown, each once. Whoever runs decides where that is said."""

Parsed = TypeVar("Parsed")


class _Seen(NamedTuple):
    fingerprint: int
    value: Any


class RecordReader:
    """Reads the records of one owner, and keeps what each said last; whoever drops the owner drops that as well.

    Args:
        store: Asked once per record: the next look is the next try.
    """

    def __init__(self, store: ResultsStore) -> None:
        """Nothing is read yet."""
        self._store = store
        self._seen: dict[PurePosixPath, _Seen] = {}
        self._unreadable: dict[PurePosixPath, int | str] = {}

    @property
    def num_unreadable(self) -> int:
        """Records that are torn or foreign, as they were last seen."""
        return len(self._unreadable)

    def read(self, path: PurePosixPath, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        """Return what a record says now; None if there is none, or none that can be read.

        Args:
            path: Where it lies.
            parse: Makes of its bytes what is kept, the smaller the better; raises ``ValueError`` for foreign ones.

        Raises:
            StoreError: The store does not answer.
        """
        try:
            content = self._store.read(path)
        except (ResultError, StoreError) as error:
            if isinstance(error, StoreError) and error.may_pass:
                raise  # of the whole store, not of this record
            self._seen.pop(path, None)
            self._refuse(path, error.problem, error.problem)
            return None
        if content is None:
            self._seen.pop(path, None)
            self._unreadable.pop(path, None)
            return None
        return self._parse(path, content, parse)

    def recall(self, path: PurePosixPath) -> Any:  # noqa: ANN401 - what the parser of this path has made
        """Return what a record said when it was last read."""
        seen = self._seen.get(path)
        return seen.value if seen else None

    def forget(self) -> None:
        """Keep nothing of what was read."""
        self._seen, self._unreadable = {}, {}

    def _parse(self, path: PurePosixPath, content: bytes, parse: Callable[[bytes], Parsed]) -> Parsed | None:
        seen, fingerprint = self._seen.get(path), hash(content)
        if seen and seen.fingerprint == fingerprint:
            value: Parsed = seen.value
            return value
        try:
            value = parse(content)
        except ValueError as error:
            self._seen.pop(path, None)
            self._refuse(path, fingerprint, str(error).partition("\n")[0])
            return None
        self._seen[path] = _Seen(fingerprint, value)
        self._unreadable.pop(path, None)
        return value

    def _refuse(self, path: PurePosixPath, fingerprint: int | str, why: str) -> None:
        """Count a record as unreadable, and say so once for each form that it takes."""
        if self._unreadable.get(path) != fingerprint:
            self._unreadable[path] = fingerprint
            log.warning("No metrics can be made of %s: %s", self._store.locate(path), why)
