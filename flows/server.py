"""A temporary Prefect server for a flow that runs in the command itself.

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


class PrefectServerError(FreezeBenchError):
    """The temporary Prefect server did not start."""


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
