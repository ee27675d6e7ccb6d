"""The check of a release: the pod of ``helm test``, and what it finds.

It is run against a real Prefect server with the environment that the chart gives it, and the real results server.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart_renderer import main_container, read_env, render, secret_key
from flows.basic_auth import BasicAuth
from flows.prefect_plugin import NAME
from flows.release_check import CHECKS, DEPLOYMENT, PREFECT_URL_ENV, RESULTS_URL_ENV
from flows.results_server import ResultsServer
from prefect_processes import PrefectServer
from worker.contract.store import ResultsStore

AUTH = "admin:a password: with a colon"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Prefect server."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="module")
def prefect_url(home: Path) -> Iterator[str]:
    """The API of a server with the environment of the chart's, in folders of this machine."""
    told = read_env(main_container(render().find_pod("prefect"))) | {"PREFECT_SERVER_API_AUTH_STRING": AUTH}
    environment = {name: str(value).replace("/tmp", str(home)) for name, value in told.items()}  # noqa: S108 - in a pod
    server = PrefectServer(home, {**os.environ, **environment})
    server.start()
    yield server.api_url
    server.kill()


@pytest.fixture
def results_url(tmp_path: Path) -> Iterator[str]:
    """The address of a results server that asks for a password."""
    server = ResultsServer(ResultsStore(str(tmp_path)), "127.0.0.1", 0, BasicAuth(AUTH))
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def open_results_url(tmp_path: Path) -> Iterator[str]:
    """The address of a results server that asks nobody anything."""
    server = ResultsServer(ResultsStore(str(tmp_path)), "127.0.0.1", 0, None)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_helm_test_checks_every_part_of_the_release() -> None:
    release = render(name="one")
    container = main_container(release.find_pod("test"))
    environment = read_env(container)

    assert container["command"] == ["python", "-m", "flows.release_check", *CHECKS]
    assert environment[PREFECT_URL_ENV] == "http://one-freeze-bench-prefect:4200/api"
    assert environment[RESULTS_URL_ENV] == "http://one-freeze-bench-results:4280"
    assert environment["FREEZE_BENCH_AUTH"] == secret_key("one-freeze-bench-auth", "auth-string")
    (port,) = release.find("Service", "one-freeze-bench-results")["spec"]["ports"]
    assert port["port"] == 4280


def test_the_pod_is_no_part_of_an_installation_and_leaves_nothing() -> None:
    annotations = render().find("Pod", "bench-freeze-bench-test")["metadata"]["annotations"]

    assert annotations["helm.sh/hook"] == "test"
    assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]


def test_the_server_shows_its_pages_and_asks_for_the_password(prefect_url: str, home: Path) -> None:
    base = prefect_url.removesuffix("/api")

    assert b"<html" in read(base).lower()
    assert json.loads(read(f"{base}/ui-settings"))["api_url"] == "/api"
    assert list((home / "ui").rglob("index.html"))
    with pytest.raises(urllib.error.HTTPError, match="401"):
        read(f"{base}/api/admin/version")


def test_a_prefect_server_that_takes_the_credentials_is_ok(prefect_url: str) -> None:
    done = check("prefect", PREFECT_API_URL=prefect_url, PREFECT_API_AUTH_STRING=AUTH)

    assert (done.returncode, done.stderr) == (0, "prefect: ok\n")


@pytest.mark.parametrize("credentials", [{}, {"PREFECT_API_AUTH_STRING": "admin:wrong"}, {"PREFECT_API_KEY": "key"}])
def test_credentials_that_are_refused_end_it_at_once(prefect_url: str, credentials: dict[str, str]) -> None:
    done = check("prefect", patience_seconds=60, PREFECT_API_URL=prefect_url, **credentials)

    assert done.returncode == 1
    assert "refuses the credentials (401). Check the Secret" in done.stderr
    assert "not yet" not in done.stderr


def test_a_server_that_never_answers_is_named_after_a_while() -> None:
    url = f"http://127.0.0.1:{unused_port()}/api"
    done = check("prefect", patience_seconds=2.5, PREFECT_API_URL=url)

    assert done.returncode == 1
    assert f"prefect: {url}/deployments/count does not answer" in done.stderr
    assert done.stderr.count("prefect: not yet.") == 1


def test_a_server_is_waited_for(tmp_path: Path) -> None:
    port = unused_port()
    environment = {"FREEZE_BENCH_RESULTS_URL": f"http://127.0.0.1:{port}", "FREEZE_BENCH_AUTH": AUTH}
    with start_check("results", **environment) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("results: not yet.")
        server = ResultsServer(ResultsStore(str(tmp_path)), "127.0.0.1", port, BasicAuth(AUTH))
        server.start()
        assert waiting.wait(timeout=60) == 0
    server.stop()


def test_a_deployment_that_nobody_serves_is_missed(prefect_url: str) -> None:
    done = check("deployment", patience_seconds=0, PREFECT_API_URL=prefect_url, PREFECT_API_AUTH_STRING=AUTH)

    assert done.returncode == 1
    assert "answers 404" in done.stderr
    assert f"{NAME}/{NAME}" == DEPLOYMENT


def test_results_with_a_password_are_ok(results_url: str) -> None:
    done = check("results", FREEZE_BENCH_RESULTS_URL=results_url, FREEZE_BENCH_AUTH=AUTH)

    assert (done.returncode, done.stderr) == (0, "results: ok\n")


def test_results_that_anybody_can_see_are_not(open_results_url: str) -> None:
    assert read(open_results_url)

    done = check("results", patience_seconds=60, FREEZE_BENCH_RESULTS_URL=open_results_url, FREEZE_BENCH_AUTH=AUTH)

    assert done.returncode == 1
    assert "shows the results to anybody" in done.stderr


def test_the_password_is_never_repeated(prefect_url: str) -> None:
    done = check("prefect", PREFECT_API_URL=prefect_url, PREFECT_API_AUTH_STRING="admin:canary-4711")

    assert "canary-4711" not in done.stderr + done.stdout


def read(url: str) -> bytes:
    """Return what a browser would get."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})  # noqa: S310 - http, of a test's server
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        content: bytes = answer.read()
        return content


def check(part: str, *, patience_seconds: float = 30, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the check to its end, as a pod does."""
    return subprocess.run(
        command(part, patience_seconds), env=clean(environment), capture_output=True, text=True, check=False
    )


def start_check(part: str, **environment: str) -> "subprocess.Popen[str]":
    """Start the check."""
    return subprocess.Popen(command(part, 60), env=clean(environment), stderr=subprocess.PIPE, text=True)


def command(part: str, patience_seconds: float) -> list[str]:
    """Return the words of the command."""
    return [sys.executable, "-m", "flows.release_check", part, "--patience-seconds", str(patience_seconds)]


def clean(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of the process: what is given, and nothing that this one has for Prefect."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FREEZE_BENCH_"))}
    return own | environment


def unused_port() -> int:
    """Return a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
