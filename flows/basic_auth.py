"""HTTP basic authentication with one user: the same auth string that Prefect's server and client have."""

import base64
import binascii
import hmac
import os
from typing import ClassVar, Self

from worker.contract.errors import ConfigError


class BasicAuth:
    """Who may look.

    Args:
        credentials: ``user:password``.

    Raises:
        ConfigError: It is not of that form. The message does not repeat it.
    """

    ENV: ClassVar = "FREEZE_BENCH_AUTH"
    CHALLENGE: ClassVar = 'Basic realm="freeze-bench results", charset="UTF-8"'
    """Value of ``WWW-Authenticate``."""

    def __init__(self, credentials: str) -> None:
        """Keep what is asked for."""
        user, separator, password = credentials.partition(":")
        if not (user and separator and password):
            raise ConfigError(
                f"The auth string in {self.ENV} is not of the form user:password.",
                remedy="Set it to a user's name and a password with a colon between them.",
            )
        self._expected = credentials.encode()

    @classmethod
    def from_environment(cls) -> Self | None:
        """Read ``FREEZE_BENCH_AUTH``; None if it is not set.

        Raises:
            ConfigError: It is not ``user:password``.
        """
        credentials = os.environ.get(cls.ENV)
        return cls(credentials) if credentials else None

    def admits(self, header: str | None) -> bool:
        """Whether the value of an ``Authorization`` header is from somebody who may look.

        Takes the same time however much of it is right.
        """
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, self._expected)
