"""A turnstile: lets a bounded number of workers run at once, the most urgent of those that wait first."""

import heapq
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from flows.executors import ExecutorClosedError
from worker.contract.arms import Mode
from worker.contract.config import PrepareConfig, RunConfig

Place = TypeVar("Place")


class Turnstile(Generic[Place]):
    """Hands out places, and takes them back.

    Args:
        places: What each worker gets while it runs, such as its share of the machine.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        """Begin with every place free."""
        self._free = list(places)
        self._waiting: list[tuple[int, int]] = []
        self._num_asked = 0
        self._changed = threading.Condition()
        self._is_closed = False

    @contextmanager
    def place(self, config: RunConfig | PrepareConfig) -> Iterator[Place]:
        """Wait for a place: the most urgent worker first, then the one that asked first.

        Raises:
            ExecutorClosedError: ``close`` was called before there was one.
        """
        with self._changed:
            self._num_asked += 1
            turn = (_urgency(config), self._num_asked)
            heapq.heappush(self._waiting, turn)
            self._changed.wait_for(lambda: self._is_closed or (self._free and self._waiting[0] == turn))
            if self._is_closed:
                raise ExecutorClosedError
            heapq.heappop(self._waiting)
            place = self._free.pop(0)
            self._changed.notify_all()
        try:
            yield place
        finally:
            with self._changed:
                self._free.append(place)
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more: whoever waits stops waiting. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


def _urgency(config: RunConfig | PrepareConfig) -> int:
    """Return a worker's rank: live arms take longest and start first, frozen ones wait for what others wait for too."""
    if isinstance(config, PrepareConfig):
        return 1
    return 0 if config.arm.mode is Mode.LIVE else 2
