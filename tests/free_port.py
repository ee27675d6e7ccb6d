"""A port of this machine that nobody listens on."""

import socket


def free_port() -> int:
    """Return a free port; taken by whoever is told it before the system gives it to another."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
