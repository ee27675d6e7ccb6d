"""Data sets: three pinned splits in the cache.

``prepare_data`` runs once per comparison; every arm then reads the same files with ``load_split``.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from worker.contract.config import PreparedData, SplitSizes
from worker.contract.errors import DataError
from worker.contract.plan import DataSpec
from worker.contract.records import Record, canonical_json, content_hash
from worker.contract.store import write_file_atomically
from worker.sources import load_source, pin_source
from worker.splits import SPLITS, Example, Split, SplitExamples, split_rows

AnyRecord = TypeVar("AnyRecord", bound=Record)

_DATA_RECIPE = 2
"""Raised when the same source would be split otherwise than before."""


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
    """
    revision = pin_source(spec)
    request = content_hash({"spec": spec.model_dump(mode="json"), "revision": revision, "recipe": _DATA_RECIPE})
    answer = cache / "data" / "requests" / f"{request}.json"
    known = read_answer(answer, PreparedData)
    if known and all(_split_path(cache, known.digest, split).exists() for split in SPLITS):
        return known
    if only_look:
        return None
    rows, classes = load_source(spec, revision, cache)
    wanted = SplitSizes(train=spec.train_examples, validation=spec.validation_examples, test=spec.test_examples)
    splits = split_rows(rows, classes, wanted, spec.split_seed)
    contents = {split: _encode(getattr(splits, split)) for split in SPLITS}
    prepared = _describe(spec, revision, splits, contents)
    for split in SPLITS:
        write_file_atomically(_split_path(cache, prepared.digest, split), contents[split])
    write_file_atomically(answer, prepared.model_dump_json(indent=2).encode())
    return prepared


def read_answer(path: Path, form: type[AnyRecord]) -> AnyRecord | None:
    """Return what an earlier prepare step answered; None if it did not, or in another form than today's."""
    try:
        return form.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def load_split(cache: Path, data: PreparedData, split: Split) -> list[Example]:
    """Read one split of a prepared data set.

    Raises:
        DataError: The cache does not hold it.
    """
    path = _split_path(cache, data.digest, split)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise DataError(
            f"The {split} split of {data.source} is not in the cache ({path}).",
            remedy="Run the prepare step with this cache, or let the comparison run it.",
        ) from None
    return [Example(**json.loads(line)) for line in lines]


def _split_path(cache: Path, digest: str, split: Split) -> Path:
    return cache / "data" / digest / f"{split}.jsonl"


def _encode(examples: Iterable[Example]) -> bytes:
    return "".join(canonical_json({"text": row.text, "target": row.target}) + "\n" for row in examples).encode()


def _describe(
    spec: DataSpec, revision: str | None, splits: SplitExamples, contents: dict[Split, bytes]
) -> PreparedData:
    parts = [list(splits.classes), *(hashlib.sha256(contents[split]).hexdigest() for split in SPLITS)]
    return PreparedData(
        source=spec.source,
        revision=revision,
        digest=content_hash(parts),
        classes=splits.classes,
        num_examples=splits.sizes,
        num_train_available=splits.num_train_available,
        num_duplicates_dropped=splits.num_duplicates_dropped,
        num_conflicts_dropped=splits.num_conflicts_dropped,
        majority_accuracy=splits.majority_accuracy,
    )
