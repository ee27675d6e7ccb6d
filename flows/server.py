"""The Prefect server of a command: the one that is configured, or a temporary one for a flow in the command itself.

Prefect can start one too, but only when the flow starts, on a port that may be taken by then, and it outlives a flow
that is killed. This one starts while the rest is loading, on a port that is its own, and ends with whoever started it.

``python -m flows.server`` is the server process; ``TemporaryServer`` starts one.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from typing import IO

import uvicorn

from worker.contract.errors import FreezeBenchError

_HOST = "127.0.0.1"
_READY = "ready"
_STANDARD_INPUT = 0
START_SECONDS = 120.0
"""Until it answers; a locked database keeps it longer than that."""

STOP_SECONDS = 10.0
"""From SIGTERM to SIGKILL."""

ANSWER_SECONDS = 10.0
"""For a server that is configured to answer, before it counts as away."""

PREFECT_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Waits of 2, 4, 8 ... 256 s between tries: eight minutes in which Prefect's server may be away while arms train.
    "PREFECT_CLIENT_MAX_RETRIES": "8",
}
"""What Prefect is told unless the environment says otherwise. Takes effect before ``prefect`` is imported."""


class PrefectServerError(FreezeBenchError):
    """The temporary Prefect server did not start, or the configured one does not answer."""


def set_prefect_defaults(**others: str) -> None:
    """Put ``PREFECT_DEFAULTS``, and others, into the environment of this process and its children."""
    for name, value in (PREFECT_DEFAULTS | others).items():
        os.environ.setdefault(name, value)


def find_server() -> str | None:
    """Return the API address of the Prefect server that is configured, once it has answered; None without one.

    Raises:
        PrefectServerError: It does not answer within ``ANSWER_SECONDS``, or not as Prefect does.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - seconds to import
    from prefect.exceptions import PrefectHTTPStatusError  # noqa: PLC0415
    from prefect.settings import (  # noqa: PLC0415
        PREFECT_API_REQUEST_TIMEOUT,
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        get_current_settings,
        temporary_settings,
    )

    url = get_current_settings().api.url
    if not url:
        return None
    at_once = {PREFECT_API_URL: url, PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS, PREFECT_CLIENT_MAX_RETRIES: 0}
    try:
        with temporary_settings(updates=at_once), get_client(sync_client=True) as client:
            problem = client.api_healthcheck()
    except (RuntimeError, PrefectHTTPStatusError) as error:
        problem = error
    if problem is not None:
        first_line = str(problem.__cause__ or problem).partition("\n")[0].rstrip(".")
        raise PrefectServerError(
            f"The Prefect server {url} cannot be used: {first_line}.",
            remedy="Start it (`prefect server start`), or set PREFECT_API_URL to one that runs; "
            "`prefect config view --show-sources` says where this address is from.",
        )
    return url


def require_server() -> str:
    """Return the API address of the Prefect server that is configured, once it has answered.

    Raises:
        PrefectServerError: None is configured, or it does not answer.
    """
    url = find_server()
    if url is None:
        raise PrefectServerError(
            "No Prefect server is configured, and a deployment lives on one.",
            remedy="Start one (`prefect server start`) and name it: "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`.",
        )
    return url


class TemporaryServer:
    """A Prefect server of this machine, for as long as this process lives or until ``stop``.

    It keeps its runs in the database of the user's Prefect, where ``prefect server start`` shows them later.
    """

    def __init__(self) -> None:
        """Start the process; it needs some seconds until it answers."""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the flow, which still has to tell the server how it ended
        )
        self.api_url = f"http://{_HOST}:{self._read_line()}/api"

    def wait_until_ready(self) -> None:
        """Wait until the server answers.

        Raises:
            PrefectServerError: It ended instead, or was not ready within ``START_SECONDS``.
        """
        limit = threading.Timer(START_SECONDS, self._process.kill)
        limit.start()
        is_ready = self._read_line() == _READY
        limit.cancel()
        if not is_ready:
            self._process.wait()
            self._errors.seek(0)
            last_words = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise PrefectServerError(
                f"The temporary Prefect server ended with exit code {self._process.returncode}: {last_words}.",
                remedy="Start one by hand (`prefect server start`), set PREFECT_API_URL to it, and run again.",
            )

    def stop(self) -> None:
        """Stop the server."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream:
                stream.close()

    def _read_line(self) -> str:
        stream = self._process.stdout
        return stream.readline().decode().strip() if stream else ""


class _AnnouncingServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so as soon as requests are answered."""
        await super().startup(sockets)
        if not self.should_exit:
            print(_READY, flush=True)  # noqa: T201 - the parent reads it


def main() -> None:
    """Serve Prefect's API on a free port of the loopback address until the parent ends or SIGTERM comes."""
    listener = socket.create_server((_HOST, 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201 - the parent reads it
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from prefect.server.api.server import create_app  # noqa: PLC0415 - seconds to import; the port is told before

    config = uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on")
    asyncio.run(_AnnouncingServer(config).serve([listener]))


def _end_with_parent() -> None:
    while os.read(_STANDARD_INPUT, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
