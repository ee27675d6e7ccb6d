"""The temporary Prefect server: it answers when it says so, and ends with whoever started it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.server import PrefectServerError, TemporaryServer

Find = Callable[..., list[psutil.Process]]
PARENT = """
import sys
from flows.server import TemporaryServer
server = TemporaryServer()
print(server.api_url, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """An environment variable by which the server of this test is found."""
    monkeypatch.setenv("FREEZE_BENCH_TEST_RUN", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return "FREEZE_BENCH_TEST_RUN", str(tmp_path)


def test_it_answers_as_soon_as_it_says_so(prefect_server: str) -> None:
    assert prefect_server.startswith("http://127.0.0.1:")

    with urllib.request.urlopen(f"{prefect_server}/health", timeout=30) as answer:  # noqa: S310 - http, as above
        assert json.load(answer) is True


def test_it_ends_when_it_is_stopped(mark: tuple[str, str], find_descendants: Find) -> None:
    server = TemporaryServer()
    assert len(find_descendants(*mark)) == 1

    server.stop()

    assert find_descendants(*mark) == []


def test_it_ends_when_its_parent_is_killed(
    mark: tuple[str, str], find_descendants: Find, wait_until: Callable[..., None]
) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"http://127.0.0.1:")
        assert len(find_descendants(*mark)) == 2
        parent.kill()

    wait_until(lambda: not find_descendants(*mark), "the end of the server", seconds=5)


def test_one_that_does_not_start_says_why(mark: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert mark
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "a word")
    server = TemporaryServer()

    with pytest.raises(PrefectServerError) as caught:
        server.wait_until_ready()

    server.stop()
    assert caught.value.problem.startswith("The temporary Prefect server ended with exit code 1: ")
    assert "PREFECT_API_URL" in caught.value.remedy
