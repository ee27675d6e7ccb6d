"""A host of data files on the loopback interface: plain HTTP, with the faults that hosts have."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass
class HostedFile:
    """One file, and how the host treats those who ask for it."""

    content: bytes
    etag: str | None = None
    status: int = 200
    refuses_head: bool = False
    num_sent: int | None = None
    """Bytes after which the connection ends, whatever was announced."""


@dataclass
class DataHost:
    """Serves ``files`` by path until the ``with`` block ends, and counts what was sent."""

    files: dict[str, HostedFile] = field(default_factory=dict)
    num_sent: int = 0
    """Answers with the whole content."""

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def __enter__(self) -> Self:
        """Take a free port and start to serve."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop to serve and free the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _make_handler(host: DataHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            """Send the headers that GET would send."""
            self._answer()

        def do_GET(self) -> None:
            """Send a file, or as much of it as the host is told to."""
            self._answer()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's signature
            """Say nothing."""

        def _answer(self) -> None:
            file = host.files.get(self.path.partition("?")[0].lstrip("/"), HostedFile(b"", status=404))
            is_head = self.command == "HEAD"
            self.send_response(405 if is_head and file.refuses_head else file.status)
            if file.etag is not None:
                self.send_header("ETag", f'"{file.etag}"')
            self.send_header("Content-Length", str(len(file.content)))
            self.end_headers()
            if is_head or file.status != 200:
                return
            host.num_sent += 1
            try:
                self.wfile.write(file.content[: file.num_sent])
            except ConnectionError:  # who only wanted to know its size has left
                self.close_connection = True

    return Handler
