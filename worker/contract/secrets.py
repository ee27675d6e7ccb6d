"""Secrets in addresses: plans and results are kept and shown, so none may stand in them."""

import re

_PASSWORD = re.compile(r"://[^/?#]*:[^/?#]*@")
_HTTP_USER = re.compile(r"https?://[^/?#]*@", re.IGNORECASE)
"""A name alone is a token to many hosts, and of no use to the others."""

_SECRET_KEY = re.compile(
    r"[?&;#](?:[\w-]*[-_])?(?:auth|token|sig|signature|key|apikey|password|passwd|pwd|secret|credential)="
    r"|[?&;#]x-(?:amz|goog)-|[?&;#]awsaccesskeyid=",
    re.IGNORECASE,
)
"""Keys of a query that stand before a secret: tokens, and what signs an address for whoever has it."""


def holds_secret(source: str) -> bool:
    """Whether a source is a URL that gives a password, a token or a signature away."""
    return "://" in source and any(form.search(source) for form in (_PASSWORD, _HTTP_USER, _SECRET_KEY))


def refuse_secrets(source: str) -> None:
    """Refuse a URL that gives a secret away, without repeating it.

    Raises:
        ValueError: It holds one.
    """
    if holds_secret(source):
        msg = (
            "a URL with a password, a token or a signature would be kept with the results; put it into ~/.netrc or "
            "the environment, or fetch the file and name it"
        )
        raise ValueError(msg)
