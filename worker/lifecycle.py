"""How a worker ends when it is told to, or when whoever started it is gone.

SIGTERM and SIGINT raise ``Terminated`` in the main thread, so that what is open is closed, a checkpoint is written and
the attempt is recorded; a timer ends the process if that takes too long. A parent that shares a pipe as standard input
and dies, even by SIGKILL, closes it, and the worker stops the same way within two seconds.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from worker.contract.config import PARENT_PIPE_ENV
from worker.contract.errors import ExitCode

TERMINATION_SECONDS = 8.0
"""From SIGTERM to the forced end: inside the ten seconds that are promised."""

ORPHAN_SECONDS = 1.0
"""From the parent's death to the forced end: inside the two seconds that are promised."""


_STANDARD_INPUT = 0


class Terminated(BaseException):
    """The worker was told to stop. Not an ``Exception``: no handler of errors may take it for one."""


class _Ending:
    """Whether a signal may interrupt now, and how long the worker may take after one."""

    def __init__(self) -> None:
        self.seconds = TERMINATION_SECONDS
        self.num_holds = 0
        self.is_waiting = False
        self.told: str | None = None


_ending = _Ending()


def end_on_signals() -> None:
    """Raise ``Terminated`` in the main thread on SIGTERM or SIGINT; later signals are ignored while that is handled."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_terminated)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a signal wait until the block has ended well: what changes together is changed together.

    Only for the main thread, where signals are handled, and for what takes a moment.
    """
    _ending.num_holds += 1
    try:
        yield
    finally:
        _ending.num_holds -= 1
    # After an error what belongs together may be half changed: then the error goes first, and the signal waits on.
    if _ending.is_waiting and not _ending.num_holds:
        stop_if_told()


def stop_if_told() -> None:
    """Raise ``Terminated`` if the worker was told to stop: also if that was raised before where it was swallowed.

    Raises:
        Terminated: The worker was told to stop.
    """
    _ending.is_waiting = False
    if _ending.told is not None:
        raise Terminated(_ending.told)


def stopping_signal() -> str | None:
    """Return the name of the signal that the worker is ending after; None if it was not told to.

    Libraries may turn ``Terminated`` into an error of their own.
    """
    return _ending.told


def allow_termination_seconds(seconds: float) -> None:
    """Give the worker longer than usual between a signal and its forced end: a large checkpoint takes its time."""
    _ending.seconds = max(TERMINATION_SECONDS, seconds)


def end_with_parent() -> None:
    """Stop when standard input ends, if the parent promised that it stays open for as long as it lives."""
    if os.environ.get(PARENT_PIPE_ENV) == "1":
        threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _raise_terminated(number: int, _frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    force_exit_after(_ending.seconds)
    _ending.told = signal.Signals(number).name
    _ending.is_waiting = _ending.num_holds > 0
    if not _ending.is_waiting:
        raise Terminated(_ending.told)


def _wait_for_parent() -> None:
    # Not through sys.stdin: a daemon thread that holds its lock would abort the interpreter's own exit.
    while os.read(_STANDARD_INPUT, 1):
        pass
    if stopping_signal() is None:  # otherwise it is stopping already, in the time that it has announced
        force_exit_after(ORPHAN_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def force_exit_after(seconds: float) -> None:
    """End the process with 143 after a while, whatever it is doing then."""
    timer = threading.Timer(seconds, os._exit, args=(int(ExitCode.TERMINATED),))
    timer.daemon = True
    timer.start()
