"""Trouble with a results store: whether it may pass, and what a person can do about it.

File systems raise what they like. What is told apart here is told by error numbers, by the answer of an object store,
and by the names of classes, so that no client of an object store is loaded for a store that is a folder.
"""

import errno
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

_PASSING_NUMBERS = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.EPIPE,
    errno.EREMOTEIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
"""Nobody answers, or a disk or network file system stumbles. Source: Linux, errno(3)."""

_PASSING_STATUS = {408, 429}
"""HTTP: request timeout, too many requests. 500 and above pass too, but for 501."""

_PASSING_CODES = {
    "ConditionalRequestConflict",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
"""What S3 says with a status of 400, 409 or 503 to a client that should come again. Source: S3 API, error responses."""

_NOT_IMPLEMENTED = 501

_PASSING_CLASSES = {
    "ClientConnectionError",  # aiohttp
    "ClientPayloadError",  # aiohttp
    "ConnectionError",  # botocore, and the standard library
    "HTTPClientError",  # botocore
    "IncompleteRead",  # the standard library
    "IncompleteReadError",  # botocore
    "ResponseParserError",  # botocore, of an answer that was cut off
    "TimeoutError",  # the standard library, fsspec
}

_MAX_WORDS = 240  # characters of what came back; some clients recite the rules
_FULL = {errno.ENOSPC, errno.EDQUOT}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError"}


class ServiceAnswer(NamedTuple):
    """What an object store said: its own word for the trouble, and the HTTP status."""

    code: str
    status: int


def is_missing_bucket(error: BaseException) -> bool:
    """Whether not the object is missing but the whole bucket; both come as ``FileNotFoundError``."""
    answer = _find_answer(error)
    return answer is not None and answer.code == "NoSuchBucket"


def is_not_implemented(error: BaseException) -> bool:
    """Whether an object store does not know what it was asked to do, as some do with a conditional put."""
    answer = _find_answer(error)
    return answer is not None and answer.status == _NOT_IMPLEMENTED


def may_pass(error: BaseException) -> bool:
    """Whether the same call may do better later, with nobody doing anything about it."""
    answer = _find_answer(error)
    if answer is not None:
        is_trouble_of_the_server = answer.status >= 500 and answer.status != _NOT_IMPLEMENTED  # noqa: PLR2004
        return is_trouble_of_the_server or answer.status in _PASSING_STATUS or answer.code in _PASSING_CODES
    return any(
        _number(cause) in _PASSING_NUMBERS or not _PASSING_CLASSES.isdisjoint(_class_names(cause))
        for cause in _causes(error)
    )


def lacks_credentials(error: BaseException) -> bool:
    """Whether there are no credentials where the client of an object store looks for them."""
    return any(not _NO_CREDENTIALS.isdisjoint(_class_names(cause)) for cause in _causes(error))


def describe(error: BaseException) -> str:
    """Say what came back, in the words of the file system or the object store."""
    answer = _find_answer(error)
    if isinstance(error, OSError) and error.strerror and answer is None:
        return error.strerror
    words = textwrap.shorten(str(error), _MAX_WORDS, placeholder=" ...").rstrip(".") or type(error).__name__
    return f"{words} ({answer.code})" if answer else words


def suggest_remedy(error: BaseException) -> str:
    """Say what a person can do."""
    answer = _find_answer(error)
    number = _number(error)
    is_forbidden = isinstance(error, PermissionError)
    remedies = (
        (
            is_missing_bucket(error),
            "Name a bucket that exists: buckets are never created here.",
        ),
        (
            not _NO_CREDENTIALS.isdisjoint(_class_names(error)),
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        ),
        (
            may_pass(error),
            "Make sure that it answers, then run the same again: what is done is kept. For S3 see AWS_ENDPOINT_URL.",
        ),
        (
            is_forbidden and answer is not None,
            "Check the credentials, and that they may list, read, write and delete below this address.",
        ),
        (is_forbidden, "Give this user the right to read and write there, or name another store with --results."),
        (number in _FULL, "Free space there, then run the same again: what is done is kept."),
        (number == errno.EROFS, "It is mounted read-only: mount it for writing, or name another store with --results."),
        (
            number in _IN_THE_WAY,
            "Check --results: something else lies there, and is in the way.",
        ),
    )
    return next(
        (text for applies, text in remedies if applies),
        "Check --results: the address, and what its file system needs (for S3: AWS_ENDPOINT_URL and credentials).",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, innermost last."""
    while error is not None:
        yield error
        error = error.__cause__  # not __context__: that is what was being handled when the store was called


def _find_answer(error: BaseException) -> ServiceAnswer | None:
    """Return what an object store answered. Source: botocore, ``ClientError.response``."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return ServiceAnswer(code, status if isinstance(status, int) else 0)
    return None


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _class_names(error: BaseException) -> set[str]:
    return {each.__name__ for each in type(error).__mro__}
