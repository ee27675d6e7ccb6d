"""The flow side's exporter: a thread that follows the results store, and one that answers scrapes."""

import os
import threading
import time
from dataclasses import replace

from rich.console import Console

from flows.http_thread import HttpThread, port_from_environment
from flows.metrics.arms import StoreSnapshot
from flows.metrics.records import log
from flows.metrics.site import MetricsSite
from flows.metrics.store_reader import LOOK_SECONDS, StoreReader
from worker.contract.errors import ConfigError, FreezeBenchError, StoreError
from worker.contract.store import ResultsStore

LINGER_SECONDS = 60.0
"""How long a command waits for its last scrape: that is Prometheus' own interval where nobody has set another."""

MAX_CONNECTIONS = 16
"""Scrapers at once; what comes on top is answered 503. Each may hold an answer that it does not read."""

STOP_SECONDS = 5.0
"""For the reader, when the exporter stops: a store that does not answer holds nobody up."""

PORT_ENV = "FREEZE_BENCH_METRICS_PORT"
HOST_ENV = "FREEZE_BENCH_METRICS_HOST"
_HERE = "127.0.0.1"


class MetricsServerError(FreezeBenchError):
    """The metrics cannot be served."""


def start_metrics(results: str) -> "StoreExporter | None":
    """Start the exporter that the environment asks for; None if it asks for none.

    Args:
        results: The results store: a folder or an fsspec URL.

    Raises:
        ConfigError: The port or the address in the environment is not one.
        MetricsServerError: The port is taken.
    """
    port = port_from_environment(PORT_ENV)
    if port is None:
        return None
    exporter = StoreExporter(ResultsStore(results), port)
    exporter.start()
    return exporter


class StoreExporter:
    """Exposes what a results store says of the arms of the last day.

    Listens on the address in ``FREEZE_BENCH_METRICS_HOST``, by default on the loopback address. No password is asked
    for: accuracies and names of arms are all there is to see.

    Args:
        store: Results store.
        port: Port; 0 takes a free one.

    Attributes:
        address: Where the metrics are.

    Raises:
        ConfigError: The address in the environment is not one.
        MetricsServerError: The port is taken.
    """

    def __init__(self, store: ResultsStore, port: int) -> None:
        """Take the port; nothing is read or answered before ``start``."""
        self._reader = StoreReader(store)
        self._site = MetricsSite()
        host = os.environ.get(HOST_ENV) or _HERE
        try:
            self._http = HttpThread(self._site, host, port, name="metrics", max_connections=MAX_CONNECTIONS)
        except ValueError as error:
            raise ConfigError(
                f"{HOST_ENV} is {host!r}, which is no address of an interface.",
                remedy=f"Set it to one, such as {_HERE} or 0.0.0.0, or leave it out.",
            ) from error
        except OSError as error:
            raise MetricsServerError(
                f"The metrics cannot be served on {host}:{port}: {os.strerror(error.errno or 0)}.",
                remedy=f"End what listens there, or take another port ({PORT_ENV} or --metrics-port).",
            ) from error
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{self._http.port}/metrics"
        self._looking = threading.Lock()
        self._is_away = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="metrics reader", daemon=True)

    def start(self) -> None:
        """Read and answer from now on, in threads."""
        self._http.start()
        self._thread.start()

    def stop(self) -> None:
        """Give the port back."""
        self._stop.set()
        self._http.stop()
        self._thread.join(STOP_SECONDS)

    @property
    def snapshot(self) -> StoreSnapshot:
        """What is shown now."""
        return self._site.snapshot

    def look(self) -> bool:
        """Read the store now, show what it says, and say whether there is more of it that was never read."""
        with self._looking:
            shown = self._site.snapshot
            try:
                self._site.show(replace(self._reader.look(time.time()), num_failures=shown.num_failures))
            except StoreError as error:
                self._site.show(replace(shown, num_failures=shown.num_failures + 1))
                if not self._is_away:
                    log.warning("The metrics stand still, because the results store does not answer: %s", error)
                self._is_away = True
                return False
            if self._is_away:
                log.warning("The results store answers again, and the metrics go on.")
            self._is_away = False
            return self._reader.is_behind

    def linger(self, console: Console, seconds: float = LINGER_SECONDS) -> None:
        """Show the last state until it has been scraped, if anybody has scraped before, and say that.

        Args:
            console: Where that is said.
            seconds: How long at most.
        """
        try:
            self._stop.set()
            self._thread.join()
            while self.look():
                pass
            if not self._site.was_scraped:
                return
            console.print(f"Waiting up to {seconds:g} s for the last scrape of {self.address}; Ctrl-C ends this.")
            if not self._site.wait_until_scraped(seconds):
                console.print("Nobody came: Prometheus may lack the last steps. The results store has them all.")
        except KeyboardInterrupt:  # of what follows the run, and not of the run, which is done
            console.print("Not waiting any more.")

    def _follow(self) -> None:
        while not self._stop.is_set():
            if not self.look():
                self._stop.wait(LOOK_SECONDS)
