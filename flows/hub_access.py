"""Whether the hub lets anybody without a token read what a plan names: asked before a Job is made for it."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Literal, NamedTuple
from urllib.parse import quote

import httpx

HUB = "https://huggingface.co"
ENDPOINT_ENV = "HF_ENDPOINT"
"""The hub's own variable for a mirror."""

_SECONDS = 10.0
_NUM_AT_ONCE = 8
_TOKEN = "name a Secret with the token of an account that may read it (hub.existingSecret)"  # noqa: S105 - words


class HubRepository(NamedTuple):
    """A repository as a plan names it."""

    kind: Literal["models", "datasets"]
    name: str
    revision: str | None


class Refusal(NamedTuple):
    """What the hub does not give, and what to do about it."""

    problem: str
    remedy: str


def find_refusals(repositories: Iterable[HubRepository], warn: Callable[[str], object]) -> list[Refusal]:
    """Ask the hub about repositories, without a token, and return what it refuses.

    A hub that does not answer refuses nothing: the cache may hold everything, as it must where there is no network.

    Args:
        repositories: What a plan takes from the hub.
        warn: Told which could not be asked about, and why.
    """
    with (
        httpx.Client(timeout=_SECONDS, follow_redirects=True) as client,
        ThreadPoolExecutor(_NUM_AT_ONCE) as threads,
    ):
        answers = threads.map(lambda each: _ask(client, each, warn), repositories)
        return [answer for answer in answers if answer is not None]


def _ask(client: httpx.Client, repository: HubRepository, warn: Callable[[str], object]) -> Refusal | None:
    kind, name, revision = repository
    address = f"{(os.environ.get(ENDPOINT_ENV) or HUB).rstrip('/')}/api/{kind}/{name}"
    if revision is not None:
        address += f"/revision/{quote(revision, safe='')}"
    try:
        answer = client.get(address)
        if answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            answer.raise_for_status()
        is_gated = answer.is_success and answer.json().get("gated", False) is not False
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as error:
        warn(f"Whether {name} may be read was not checked, because the hub does not say: {error}")
        return None
    return _judge(repository, answer.status_code, answer.headers.get("X-Error-Code", ""), is_gated=is_gated)


def _judge(repository: HubRepository, status: int, code: str, *, is_gated: bool) -> Refusal | None:
    """Tell what an answer means. Source: huggingface_hub 2.4.0, hf_raise_for_status."""
    kind, name, revision = repository
    if is_gated or code == "GatedRepo" or status == HTTPStatus.FORBIDDEN:
        return Refusal(
            f"{name} is gated, and this release has no hub token.",
            f"Accept the terms of {name} on its hub page, and {_TOKEN}.",
        )
    if code == "RevisionNotFound":
        return Refusal(f"{name} has no revision {revision!r}.", "Name a branch, tag or commit that it has.")
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED}:  # to strangers the hub says 401 for both
        return Refusal(
            f"The hub has no {kind.removesuffix('s')} {name!r}, or it is private.",
            f"Check the spelling; for a private one {_TOKEN}.",
        )
    return None
