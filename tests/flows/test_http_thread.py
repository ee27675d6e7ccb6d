"""An application on a port of its own, and clients that do not behave."""

import asyncio
import http.client
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from flows import http_thread
from flows.http_thread import HttpThread, port_from_environment
from worker.contract.errors import ConfigError

BODY = b"x" * 32_000_000
"""More than the system keeps for a client that does not read."""


async def reply(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request: one path at length, one late."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    await PlainTextResponse(BODY if scope["path"] == "/large" else b"ok")(scope, receive, send)


def is_held(connection: socket.socket, server: HttpThread) -> bool:
    """Whether the server's end of a connection is still there."""
    ends = {(each.laddr, each.raddr) for each in psutil.Process().net_connections("tcp")}
    return (("127.0.0.1", server.port), connection.getsockname()) in ends


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpThread]:
    monkeypatch.setattr(http_thread, "UNREAD_SECONDS", 0.5)
    monkeypatch.setattr(http_thread, "REQUEST_SECONDS", 0.5)
    server = HttpThread(reply, "127.0.0.1", 0, name="large", max_connections=4)
    server.start()
    yield server
    server.stop()


def ask(server: HttpThread, path: str) -> socket.socket:
    """Ask, and read nothing of the answer."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    return connection


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
def test_a_client_that_does_not_read_is_hung_up_on(server: HttpThread, wait_until: Callable[..., None]) -> None:
    with ask(server, "/large") as connection:
        connection.recv(1)
        assert is_held(connection, server)
        wait_until(lambda: not is_held(connection, server), "the client to be hung up on")

    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/") as answer:
        assert answer.read() == b"ok"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: he",
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\r\n",
    ],
    ids=["nothing", "half a request", "one request", "one and a half"],
)
def test_a_client_that_does_not_go_on_asking_is_hung_up_on(server: HttpThread, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as connection:  # uvicorn would wait for longer
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n")


def test_an_answer_may_take_longer_than_a_request(server: HttpThread) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.endswith(b"\r\n\r\nok")


def test_no_more_clients_are_answered_at_once_than_may_be_and_silent_ones_go(
    server: HttpThread, wait_until: Callable[..., None]
) -> None:
    def status() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        finally:
            connection.close()

    with ExitStack() as silent:
        for number in range(4):
            assert status() == 200, f"with {number} others"
            silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert status() == 503
        wait_until(lambda: status() == 200, "a place")


def test_without_a_bound_everybody_is_answered() -> None:
    server = HttpThread(reply, "127.0.0.1", 0, name="open")
    server.start()
    try:
        with ExitStack() as silent:
            for _ in range(100):
                silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/") as answer:
                assert answer.read() == b"ok"
    finally:
        server.stop()


def test_the_port_is_free_again_after_a_stop() -> None:
    first = HttpThread(reply, "127.0.0.1", 0, name="first")
    first.start()
    first.stop()
    second = HttpThread(reply, "127.0.0.1", first.port, name="second")
    second.start()
    second.stop()

    assert second.port == first.port


def test_ipv6_is_listened_on_by_its_address() -> None:
    try:
        server = HttpThread(reply, "::1", 0, name="six")
    except OSError:
        pytest.skip("this machine has no IPv6")
    server.start()
    with urllib.request.urlopen(f"http://[::1]:{server.port}/") as answer:
        assert answer.read() == b"ok"

    server.stop()


@pytest.mark.parametrize("text", ["0", "65536", "9464 ", "-1", "metrics", "٩٤٦٤"])
def test_a_port_that_is_none_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FREEZE_BENCH_SOME_PORT", text)

    with pytest.raises(ConfigError, match="FREEZE_BENCH_SOME_PORT is "):
        port_from_environment("FREEZE_BENCH_SOME_PORT")


def test_no_port_is_asked_for_by_an_empty_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEZE_BENCH_SOME_PORT", "")

    assert port_from_environment("FREEZE_BENCH_SOME_PORT") is None
