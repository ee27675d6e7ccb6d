"""How a worker ends when it is told to, or when whoever started it is gone.

SIGTERM and SIGINT raise ``Terminated`` in the main thread, so that what is open is closed and the attempt is recorded;
a timer ends the process if that takes too long. A parent that shares a pipe as standard input and dies, even by
SIGKILL, closes it, and the worker stops the same way within two seconds.
"""

import os
import signal
import threading
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


def end_on_signals() -> None:
    """Raise ``Terminated`` in the main thread on SIGTERM or SIGINT; later signals are ignored while that is handled."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_terminated)


def end_with_parent() -> None:
    """Stop when standard input ends, if the parent promised that it stays open for as long as it lives."""
    if os.environ.get(PARENT_PIPE_ENV) == "1":
        threading.Thread(target=_wait_for_parent, name="parent", daemon=True).start()


def _raise_terminated(number: int, _frame: FrameType | None) -> None:
    for other in (signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)
    force_exit_after(TERMINATION_SECONDS)
    raise Terminated(signal.Signals(number).name)


def _wait_for_parent() -> None:
    # Not through sys.stdin: a daemon thread that holds its lock would abort the interpreter's own exit.
    while os.read(_STANDARD_INPUT, 1):
        pass
    force_exit_after(ORPHAN_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def force_exit_after(seconds: float) -> None:
    """End the process with 143 after a while, whatever it is doing then."""
    timer = threading.Timer(seconds, os._exit, args=(int(ExitCode.TERMINATED),))
    timer.daemon = True
    timer.start()
