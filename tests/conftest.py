"""Fixtures that tests of several packages share."""

import signal
import uuid
from collections.abc import Iterator

import pytest

from hub_server import HubServer
from s3_server import BUCKET, S3Server


def pytest_configure() -> None:
    """Hear Ctrl-C, as the commands must that tests start: a shell lets what it runs in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """Return a running, empty hub."""
    with HubServer() as server:
        yield server


@pytest.fixture(scope="session")
def running_s3_server() -> Iterator[S3Server]:
    """A real S3 server, for whatever tests of this session want one."""
    with S3Server() as server:
        yield server


@pytest.fixture
def s3_server(running_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Return the S3 server, with the environment set as for its user."""
    for name, value in running_s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return running_s3_server


@pytest.fixture
def s3_url(s3_server: S3Server) -> str:
    """Return the URL of an empty results store of the test's own."""
    assert s3_server
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"
