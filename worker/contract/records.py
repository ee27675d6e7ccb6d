"""The form of every contract type, and the canonical bytes and hash of one."""

import hashlib
import json
import re
import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict

MAX_SLUG_LENGTH = 40
"""Characters. Leaves room for a prefix, the comparison and a hash in a Kubernetes object name of 63."""


class Record(BaseModel):
    """A frozen value with no unknown fields.

    Frozen, because what a run was told must not change after it was written down.
    Closed, because a misspelt key would otherwise be ignored and the run would quietly use the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def canonical_json(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Serialise a JSON value in one way only: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(document: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the SHA-256 of a JSON value's canonical form, as 64 hex digits."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def slug(text: str) -> str:
    """Turn a label into a name that files, Prometheus and Kubernetes accept: ``[a-z0-9-]``, at most 40 characters.

    Returns:
        The slug; empty if the text has no letter or digit of the Latin alphabet.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:MAX_SLUG_LENGTH].strip("-")
