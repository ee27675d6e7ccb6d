"""Data sets: three pinned splits in the cache.

``prepare_data`` runs once per comparison; every arm then reads the same files with ``load_split``.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from worker.cache_files import hash_file
from worker.contract.config import PreparedData, SplitSizes
from worker.contract.errors import DataError
from worker.contract.local_files import write_file_atomically
from worker.contract.plan import DataSpec
from worker.contract.records import Record, canonical_json, content_hash
from worker.sources import load_source, pin_source
from worker.splits import SPLITS, Example, Split, SplitExamples, split_rows

AnyRecord = TypeVar("AnyRecord", bound=Record)

_DATA_RECIPE = 2
"""Raised when the same source would be split otherwise than before."""

_YOUNGER_KEYS = frozenset({"split_column", "validation_source", "test_source"})
"""Of a data spec: added since ``_DATA_RECIPE`` was raised last."""


def prepare_data(spec: DataSpec, cache: Path, *, only_look: bool = False) -> PreparedData | None:
    """Load, deduplicate and split a data set, once.

    Args:
        spec: The source and the sizes.
        cache: Folder shared by all workers.
        only_look: Return None instead of loading a set that is not in the cache.

    Returns:
        The pinned data set, whose splits ``load_split`` reads from the cache.

    Raises:
        DataError: The source cannot be read, or cannot be split as asked.
        HubUnreachableError: The hub does not answer now.
        SourceUnreachableError: The host of a remote file does not answer now.
        SourceChangedError: A file changed while it was read.
    """
    pinned = pin_source(spec, cache, only_look=only_look)
    if pinned is None:
        return None
    request = _request(spec, pinned.revision)
    answer = cache / "data" / "requests" / f"{request}.json"
    known = read_answer(answer, PreparedData)
    if known and _is_there(cache, known):
        return known
    if only_look:
        return None
    source = load_source(spec, pinned, cache)
    wanted = SplitSizes(train=spec.train_examples, validation=spec.validation_examples, test=spec.test_examples)
    splits = split_rows(source.rows, source.classes, wanted, spec.split_seed)
    contents = {split: _encode(getattr(splits, split)) for split in SPLITS}
    prepared = _describe(spec, pinned.revision, splits, contents)
    prepared = prepared.model_copy(update={"num_empty_dropped": source.num_empty_dropped})
    for split in SPLITS:
        write_file_atomically(_split_path(cache, prepared.digest, split), contents[split])
    write_file_atomically(answer, prepared.model_dump_json(indent=2).encode())
    return prepared


def _request(spec: DataSpec, revision: str | None) -> str:
    """Return the name of an answer: over all that it depends on."""
    # A key that is younger than the recipe is in it only where it is set: what was prepared before is still found.
    document = {
        key: value
        for key, value in spec.model_dump(mode="json").items()
        if key not in _YOUNGER_KEYS or value is not None
    }
    return content_hash({"spec": document, "revision": revision, "recipe": _DATA_RECIPE})


def read_answer(path: Path, form: type[AnyRecord]) -> AnyRecord | None:
    """Return what an earlier prepare step answered; None if it did not, or in another form than today's."""
    try:
        return form.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _is_there(cache: Path, data: PreparedData) -> bool:
    """Whether the cache still holds the splits that an earlier answer names, to the byte."""
    try:
        hashes = [hash_file(_split_path(cache, data.digest, split)) for split in SPLITS]
    except FileNotFoundError:
        return False
    return _digest(data.classes, hashes) == data.digest


def _digest(classes: Sequence[str], hashes: Sequence[str]) -> str:
    return content_hash([list(classes), *hashes])


def load_split(cache: Path, data: PreparedData, split: Split) -> list[Example]:
    """Read one split of a prepared data set.

    Raises:
        DataError: The cache does not hold it, or holds less or more than was prepared.
    """
    path = _split_path(cache, data.digest, split)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise DataError(
            f"The {split} split of {data.source} is not in the cache ({path}).",
            remedy="Run the prepare step with this cache, or let the comparison run it.",
        ) from None
    num_expected = getattr(data.num_examples, split)
    if len(lines) != num_expected:
        raise DataError(
            f"The {split} split of {data.source} has {len(lines)} examples in the cache, {num_expected} were prepared "
            f"({path}).",
            remedy="Run the comparison again: it is prepared anew.",
        )
    return [Example(**json.loads(line)) for line in lines]


def _split_path(cache: Path, digest: str, split: Split) -> Path:
    return cache / "data" / digest / f"{split}.jsonl"


def _encode(examples: Iterable[Example]) -> bytes:
    return "".join(canonical_json({"text": row.text, "target": row.target}) + "\n" for row in examples).encode()


def _describe(
    spec: DataSpec, revision: str | None, splits: SplitExamples, contents: dict[Split, bytes]
) -> PreparedData:
    hashes = [hashlib.sha256(contents[split]).hexdigest() for split in SPLITS]
    return PreparedData(
        source=spec.source,
        revision=revision,
        digest=_digest(splits.classes, hashes),
        classes=splits.classes,
        num_examples=splits.sizes,
        num_train_available=splits.num_train_available,
        num_duplicates_dropped=splits.num_duplicates_dropped,
        num_conflicts_dropped=splits.num_conflicts_dropped,
        majority_accuracy=splits.majority_accuracy,
        absent_from_validation=splits.absent_classes("validation"),
        absent_from_test=splits.absent_classes("test"),
    )
