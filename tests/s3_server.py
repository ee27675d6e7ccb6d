"""A real S3 server on the loopback address: moto's, as a process of its own, behind a port that can be cut off."""

import os
import select
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Self

from botocore.session import Session  # type: ignore[import-untyped]

BUCKET = "results-bucket"
HOST = "127.0.0.1"


class S3Server:
    """Serves S3 and IAM. ``cut`` makes the port refuse, and resets who is connected, as a killed server does.

    ``stall`` accepts whatever comes and answers nothing, as a server does that hangs; ``mend`` ends both.
    """

    def __init__(self) -> None:
        """Nothing listens before the ``with`` block."""
        self._listener = socket.create_server((HOST, 0))
        self._port = self._listener.getsockname()[1]
        self._pipes: list[socket.socket] = []
        self._moto_port = 0
        self._flows = threading.Event()
        self._refusals: list[bytes] = []

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets to reach this server."""
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self._port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str = "s3", **credentials: str) -> Any:  # noqa: ANN401 - botocore makes its clients at run time
        """Return a client of its own, which sees what the code under test does not remember."""
        given = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"} | credentials
        return Session().create_client(service, "us-east-1", endpoint_url=f"http://{HOST}:{self._moto_port}", **given)

    def require_permissions(self, *, required: bool) -> None:
        """Check every request's credentials and permissions from now on, or none."""
        body = b"0" if required else b"inf"
        with socket.create_connection((HOST, self._moto_port)) as connection:
            head = f"POST /moto-api/reset-auth HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert b" 200 " in connection.recv(64)

    def cut(self) -> None:
        """Refuse connections, and end those that there are. Idempotent."""
        self._flows.set()
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for pipe in self._pipes:
            try:
                pipe.shutdown(socket.SHUT_RDWR)
            except OSError:  # ended by itself
                continue
        self._pipes.clear()

    def stall(self) -> None:
        """Let connections be, and pass nothing on."""
        self._flows.clear()

    def refuse_conditional_put(self, status: int, code: str) -> None:
        """Answer the next put that names a condition with an error, in place of the server."""
        body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
        head = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        self._refusals.append(f"{head}Connection: close\r\n\r\n{body}".encode())

    def mend(self) -> None:
        """Listen on the same port again, and pass on what comes. Idempotent."""
        self._flows.set()
        if self._listener.fileno() >= 0:
            return
        self._listener = socket.create_server((HOST, self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def __enter__(self) -> Self:
        """Start moto and make a bucket."""
        program = (
            "import sys, threading; from moto.server import ThreadedMotoServer; "
            f"server = ThreadedMotoServer({HOST!r}, 0, verbose=False); server.start(); "
            "print(server.get_host_and_port()[1], flush=True); sys.stdin.read()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | self.environment,
        )
        assert self._process.stdout is not None
        self._moto_port = int(self._process.stdout.readline())
        self._listener.close()
        self.mend()
        self.client().create_bucket(Bucket=BUCKET)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the process."""
        self.cut()
        self._process.kill()
        self._process.communicate()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # cut off
                return
            far = socket.create_connection((HOST, self._moto_port))
            self._pipes += [near, far]
            threading.Thread(target=self._relay, args=(near, far), daemon=True).start()

    def _relay(self, near: socket.socket, far: socket.socket) -> None:
        """Pass bytes both ways until either side ends."""
        with near, far:
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    try:
                        content = ready.recv(65536)
                        self._flows.wait()
                        if ready is near and self._refusals and b"if-none-match" in content.lower():
                            self._refuse(near)
                            return
                        (far if ready is near else near).sendall(content)
                    except OSError:
                        return
                    if not content:
                        return

    def _refuse(self, near: socket.socket) -> None:
        near.sendall(self._refusals.pop(0))
        near.shutdown(socket.SHUT_WR)
        while near.recv(65536):  # a body that nobody reads would reset the connection, and the answer with it
            pass
