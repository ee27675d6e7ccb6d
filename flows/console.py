"""What every command shares: its console, and how it says what went wrong."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from worker.contract.errors import ArmsFailedError, ConfigError, DataError, FreezeBenchError

EXIT_ARM_FAILED = 1
EXIT_BAD_PLAN = 2
EXIT_INTERRUPTED = 130

PLAIN_WIDTH = 120
"""Characters of a line where the output is no terminal."""


@contextmanager
def explained() -> Iterator[Console]:
    """Give a console, and turn an error that has a remedy into one message and an exit code, without a traceback."""
    store_log = logging.getLogger("freeze_bench")
    store_log.handlers, store_log.propagate = [_Sayer()], False
    try:
        yield Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, markup=False, highlight=False)
    except KeyboardInterrupt:
        say("Stopped. What is done is kept: the same command goes on from there.", "yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OSError as error:
        say(f"{error.strerror or error}: {error.filename or ''}\nCheck --results and --cache.", "red")
        raise typer.Exit(EXIT_ARM_FAILED) from None
    except FreezeBenchError as error:
        say(f"{error.problem.rstrip()}\n{error.remedy}", "yellow" if isinstance(error, ArmsFailedError) else "red")
        is_bad_plan = isinstance(error, ConfigError | DataError)
        raise typer.Exit(EXIT_BAD_PLAN if is_bad_plan else EXIT_ARM_FAILED) from None
    finally:
        store_log.handlers, store_log.propagate = [], True


class _Sayer(logging.Handler):
    """Shows what the results store says of itself: that it is waited for, that it answers again."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record's text."""
        say(record.getMessage(), "yellow")


def say(text: str, style: str) -> None:
    """Print one message to the error output, as it is."""
    Console(stderr=True).print(text, style=style, markup=False, highlight=False, soft_wrap=True)
