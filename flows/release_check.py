"""Waits until the parts of a release answer: run by the runner's init container, and by ``helm test``.

    python -m flows.release_check prefect deployment results

What is away is asked again for some minutes. What refuses the credentials is not: waiting mends no password.
"""

import argparse
import base64
import os
import sys
import time
from collections.abc import Callable, Mapping

import httpx

DEPLOYMENT = "compare-backbones/compare-backbones"
"""Flow and deployment, as Prefect writes them. Said here, since importing it would import Prefect."""

PATIENCE_SECONDS = 300.0
"""Longer than a Prefect server needs to pull its image and to make its database."""

PREFECT_URL_ENV = "PREFECT_API_URL"
RESULTS_URL_ENV = "FREEZE_BENCH_RESULTS_URL"

_PAUSE_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_REFUSALS = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})


class PartError(Exception):
    """A part of the release is not as it should be."""

    def __init__(self, problem: str, *, may_pass: bool) -> None:
        """Keep whether waiting can help."""
        super().__init__(problem)
        self.may_pass = may_pass


def check_prefect(environ: Mapping[str, str]) -> None:
    """Check that the Prefect API answers, and takes the credentials.

    Raises:
        PartError: It does not.
    """
    _ask(f"{environ[PREFECT_URL_ENV]}/deployments/count", _prefect_headers(environ), method="POST")


def check_deployment(environ: Mapping[str, str]) -> None:
    """Check that the runner has registered its deployment.

    Raises:
        PartError: It has not, or Prefect does not answer.
    """
    _ask(f"{environ[PREFECT_URL_ENV]}/deployments/name/{DEPLOYMENT}", _prefect_headers(environ))


def check_results(environ: Mapping[str, str]) -> None:
    """Check that the results are shown to those who have the auth string, and to nobody else.

    Raises:
        PartError: They are not.
    """
    url = f"{environ[RESULTS_URL_ENV]}/"
    _ask(url, _basic(environ["FREEZE_BENCH_AUTH"]))
    try:
        _ask(url, {})
    except PartError as error:
        if not error.may_pass:
            return
        raise
    raise PartError(f"{url} shows the results to anybody.", may_pass=False)


CHECKS: Mapping[str, Callable[[Mapping[str, str]], None]] = {
    "prefect": check_prefect,
    "deployment": check_deployment,
    "results": check_results,
}


def wait_for(part: str, environ: Mapping[str, str], patience_seconds: float) -> None:
    """Repeat a check until it passes, and say once each what is in the way.

    Raises:
        PartError: It cannot pass, or has not for so long.
    """
    give_up_at = time.monotonic() + patience_seconds
    said = ""
    while True:
        try:
            return CHECKS[part](environ)
        except PartError as error:
            if not error.may_pass or time.monotonic() > give_up_at:
                raise
            if str(error) != said:
                said = str(error)
                _say(f"{part}: not yet. {said}")
        time.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Wait for the parts that are named, one after the other, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.release_check", description="Wait for parts of a release.")
    parser.add_argument("parts", nargs="+", choices=CHECKS)
    parser.add_argument("--patience-seconds", type=float, default=PATIENCE_SECONDS, help="[default: %(default)s]")
    options = parser.parse_args()
    for part in options.parts:
        try:
            wait_for(part, os.environ, options.patience_seconds)
        except PartError as error:
            _say(f"{part}: {error}")
            return 1
        _say(f"{part}: ok")
    return 0


def _ask(url: str, headers: Mapping[str, str], *, method: str = "GET") -> None:
    try:
        response = httpx.request(
            method,
            url,
            headers={**headers},
            json={} if method == "POST" else None,
            timeout=_ANSWER_SECONDS,
            follow_redirects=True,
        )
    except httpx.HTTPError as error:
        raise PartError(f"{url} does not answer: {error or type(error).__name__}.", may_pass=True) from error
    if response.status_code in _REFUSALS:
        raise PartError(
            f"{url} refuses the credentials ({response.status_code}). Check the Secret with the auth string.",
            may_pass=False,
        )
    if not response.is_success:
        raise PartError(f"{url} answers {response.status_code}.", may_pass=True)


def _prefect_headers(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the header by which Prefect's own client would prove who it is; the key goes first there, too."""
    if key := environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    auth_string = environ.get("PREFECT_API_AUTH_STRING")
    return _basic(auth_string) if auth_string else {}


def _basic(auth_string: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(auth_string.encode()).decode()}"}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
