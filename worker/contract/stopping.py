"""Stopping the main thread from the thread that keeps its lease."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNAL = signal.SIGUSR1
"""Stops the main thread of a process that has lost its lease. Not SIGINT: whoever is served ignores that."""


class LeaseLostError(BaseException):
    """Raised in the main thread of a process whose lease another has; nothing that goes wrong there may catch it."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the thread that keeps a lease stop the main thread; another thread hears of the loss at its end."""
    if not is_main_thread():
        yield
        return
    before = signal.signal(STOP_SIGNAL, _raise_lost)
    try:
        yield
    finally:
        signal.signal(STOP_SIGNAL, before)


def _raise_lost(_number: int, _frame: FrameType | None) -> None:
    raise LeaseLostError


def is_main_thread() -> bool:
    """Whether this is the thread that signals interrupt."""
    return threading.current_thread() is threading.main_thread()


def stop_main_thread() -> None:
    """Raise ``LeaseLostError`` in the main thread, which must be in a ``stoppable`` block."""
    signal.pthread_kill(threading.main_thread().ident or 0, STOP_SIGNAL)
