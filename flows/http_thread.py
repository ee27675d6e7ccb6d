"""HTTP beside other work: an ASGI application on a port of its own, answered in one thread."""

import asyncio
import os
import socket
import threading
from ipaddress import IPv6Address, ip_address

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.contract.errors import ConfigError

REQUEST_SECONDS = 10.0
"""A client that has not sent the head of a request for this long is hung up on."""

UNREAD_SECONDS = 10.0
"""A client that reads nothing of its answer for this long is hung up on, where the system can (Linux)."""

STOP_SECONDS = 5.0
"""For answers that are under way when the server stops."""


def port_from_environment(name: str) -> int | None:
    """Return the port that an environment variable asks for; None if it asks for none.

    Raises:
        ConfigError: It is not a port.
    """
    text = os.environ.get(name)
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**16:
        raise ConfigError(f"{name} is {text!r}.", remedy="Set it to a port from 1 to 65535, or leave it out.")
    return int(text)


class HttpThread:
    """Serves one application from a thread of its own.

    Args:
        application: Answers the requests.
        host: Address of the interface to listen on.
        port: Port; 0 takes a free one.
        name: Of the thread.
        max_connections: Clients at once; what comes on top is answered 503. None sets no bound.

    Attributes:
        port: Where it listens.

    Raises:
        OSError: The address cannot be had.
        ValueError: ``host`` is not an address.
    """

    def __init__(
        self, application: ASGIApp, host: str, port: int, *, name: str, max_connections: int | None = None
    ) -> None:
        """Take the port; nothing is answered before ``start``."""
        family = socket.AF_INET6 if isinstance(ip_address(host), IPv6Address) else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # what is accepted inherits it
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_SECONDS * 1000))
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            application,
            http=_PunctualProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            limit_concurrency=None if max_connections is None else max_connections + 1,  # uvicorn's counts the refused
            timeout_graceful_shutdown=round(STOP_SECONDS),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being answered, and give the port back."""
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._socket]))


class _PunctualProtocol(H11Protocol):
    """Hangs up on clients that are slow to ask; uvicorn itself waits for a first request for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._forget_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # unless another request had come already
            self._await_request()

    def _await_request(self) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
