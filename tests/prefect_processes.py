"""Prefect's server and ``freeze-bench serve`` as processes, for tests that take them away."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

START_SECONDS = 90
"""For a server or a serving process on a machine that is busy with other things."""

BUSY_SECONDS = 60
"""For a server whose database is locked."""

BIN = Path(sys.executable).parent


class PrefectServer:
    """A real Prefect server that can be killed and started again, on the same port and database."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.api_url = f"http://127.0.0.1:{self._port}/api"
        self.database = home / "prefect.db"
        self._environment = {
            **environment,
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(self._port)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text("utf-8")
            assert time.monotonic() < deadline, self._log.read_text("utf-8")
            time.sleep(0.1)

    def kill(self) -> None:
        """Take it away at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=5) as answer:  # noqa: S310 - http, as above
                return bool(json.load(answer))
        except (OSError, urllib.error.URLError):
            return False


class Prefect:
    """Prefect's command and API, as somebody at a terminal uses them."""

    def __init__(self, api_url: str, environment: Mapping[str, str], cwd: Path) -> None:
        self.api_url = api_url
        self._environment = {**environment, "PREFECT_API_URL": api_url}
        self._cwd = cwd

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run ``prefect`` in the repository's root."""
        return subprocess.run(
            [str(BIN / "prefect"), *arguments],
            cwd=self._cwd,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def post(self, path: str, document: object) -> Any:  # noqa: ANN401 - any JSON value
        """Ask the API, and return its answer."""
        request = urllib.request.Request(  # noqa: S310 - http, as in the server's address
            f"{self.api_url}/{path}", json.dumps(document).encode(), {"Content-Type": "application/json"}
        )
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                # Its database is locked: Prefect's own clients ask again, too.
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def flow_runs(self, name: str) -> list[Any]:
        """Return the flow runs of a name, the newest first."""
        wanted = {"flow_runs": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"}
        return list(self.post("flow_runs/filter", wanted))

    def state(self, name: str) -> str | None:
        """Return the state of the newest flow run of a name."""
        runs = self.flow_runs(name)
        return str(runs[0]["state_name"]) if runs else None


class Serving:
    """A running ``freeze-bench serve`` and what it has said."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self._output.read_text("utf-8", errors="replace")

    def wait_until_ready(self, wait_until: Callable[..., None]) -> None:
        """Wait until it asks for runs."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.text
            return "Ctrl-C ends this" in self.text

        wait_until(is_ready, "the deployment to be served", seconds=START_SECONDS)
