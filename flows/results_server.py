"""The results server: shows the results store over HTTP to whoever knows the password, and changes nothing.

Started by ``freeze-bench serve``, in a thread of its own, where ``FREEZE_BENCH_RESULTS_PORT`` is set.
"""

import os
from ipaddress import ip_address

from flows.basic_auth import BasicAuth
from flows.http_thread import HttpThread, port_from_environment
from flows.results_site import ResultsSite
from worker.contract.errors import ConfigError, FreezeBenchError
from worker.contract.store import ResultsStore

PORT_ENV = "FREEZE_BENCH_RESULTS_PORT"
PUBLIC_URL_ENV = "FREEZE_BENCH_PUBLIC_URL"
"""Under which address people reach the results server, if they do."""

_EVERYWHERE, _HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104 - all interfaces, with a password only


class ResultsServerError(FreezeBenchError):
    """The results server cannot listen."""


def link_results(comparison: str) -> str | None:
    """Return where people see the folder of a comparison in a browser; None where no address is known."""
    prefix = os.environ.get(PUBLIC_URL_ENV)
    return f"{prefix.rstrip('/')}/{comparison}/" if prefix else None


def start_results_server(results: str) -> "ResultsServer | None":
    """Start the results server that the environment asks for; None if it asks for none.

    With ``FREEZE_BENCH_AUTH`` it listens on every interface, without on the loopback address.

    Args:
        results: The results store: a folder or an fsspec URL.

    Raises:
        ConfigError: The port or the auth string is not one.
        ResultsServerError: The port is taken.
    """
    port = port_from_environment(PORT_ENV)
    if port is None:
        return None
    auth = BasicAuth.from_environment()
    server = ResultsServer(ResultsStore(results), _EVERYWHERE if auth else _HERE, port, auth)
    server.start()
    return server


class ResultsServer:
    """Serves one results store.

    Args:
        store: What is shown.
        host: Interface to listen on.
        port: Port; 0 takes a free one.
        auth: Who may look; without it only the loopback address is allowed.

    Attributes:
        port: Where it listens.

    Raises:
        ConfigError: Another interface than the loopback address without ``auth``.
        ResultsServerError: The address cannot be had.
    """

    def __init__(self, store: ResultsStore, host: str, port: int, auth: BasicAuth | None) -> None:
        """Take the port; nothing is answered before ``start``."""
        if auth is None and not ip_address(host).is_loopback:
            raise ConfigError(
                f"The results store would be open to everybody on {host}.",
                remedy=f"Set {BasicAuth.ENV} to user:password, or listen on {_HERE}.",
            )
        try:
            self._http = HttpThread(ResultsSite(store, auth), host, port, name="results server")
        except OSError as error:
            raise ResultsServerError(
                f"The results server cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.",
                remedy=f"End what listens there, or set {PORT_ENV} to another port.",
            ) from error
        self.port = self._http.port

    def start(self) -> None:
        """Answer from now on, in a thread of its own."""
        self._http.start()

    def stop(self) -> None:
        """Finish what is being answered, and give the port back."""
        self._http.stop()
