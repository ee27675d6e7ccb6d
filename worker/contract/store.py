"""The results store: where each record lies, and how one is written and read."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pydantic import ValidationError

from worker.contract.config import SCHEMA_VERSION
from worker.contract.errors import ResultError
from worker.contract.objects import ObjectStore
from worker.contract.patience import log
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


class ResultsStore(ObjectStore):
    """Reads and writes records below one root.

    Args and errors are those of ``ObjectStore``.
    """

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
            record = form.model_validate_json(content)
            json.loads(content, object_pairs_hook=_refuse_repeated_keys)
        except (ValidationError, _RepeatedKeyError) as error:
            raise _not_a_record(self.locate(path), form, error) from error
        return record

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


class _RepeatedKeyError(ValueError):
    """A JSON object holds a key twice: readers disagree about which one counts."""


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _RepeatedKeyError(key)
        seen.add(key)


def _not_a_record(location: str, form: type[Record], error: ValidationError | _RepeatedKeyError) -> ResultError:
    if isinstance(error, _RepeatedKeyError):
        why = f"the key {error.args[0]!r} stands there twice"
    else:
        newer = [detail["input"] for detail in error.errors() if detail["loc"] == ("schema_version",)]
        if newer:
            return ResultError(
                f"{location} has schema_version {newer[0]!r}; this freeze-bench reads {SCHEMA_VERSION}.",
                remedy="Use the freeze-bench that wrote it, or a newer one; or move it away and run the arm again.",
            )
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'the whole text'}: {first['msg']}"
    return ResultError(
        f"{location} is not a {form.__name__}: {why}.",
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

    def recover_attempts(self) -> list[Attempt]:
        """Return every start so far that can be read, and set a file aside of which a part cannot.

        A torn list of attempts costs the attempts in it, never the next one.
        """
        content = self.store.read(self.attempts) or b""
        attempts, is_whole = [], True
        for line in content.splitlines():
            try:
                attempts.append(Attempt.model_validate_json(line))
            except ValidationError:
                is_whole = False
        if not is_whole:
            aside = self.attempts.with_name(f"attempts.unreadable-{sha256(content).hexdigest()[:8]}.jsonl")
            self.store.write(aside, content)
            log.warning("%s is torn or not ours; a copy is %s.", self.store.locate(self.attempts), aside.name)
        return attempts
