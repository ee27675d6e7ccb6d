"""Trouble of the machine itself: memory, disks, threads and open files that it may have to spare the next time.

What a file or a library raises for such a reason says nothing about the data or the backbone, and may pass.
"""

import errno
import os

_NUMBERS = {
    errno.EAGAIN,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.ESTALE,
}

_WORDS = (
    *map(os.strerror, _NUMBERS),
    "allocate memory",
    "start new thread",
    "failed to map segment",
    "Not enough disk space",
)
"""What libraries say that keep no number, as those written in Rust and C++.

Source: torch 2.13, CPU allocator; CPython, thread start; glibc, dlopen; datasets 5.2,
``DatasetBuilder.download_and_prepare``.
"""


def is_of_the_machine(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is the machine's, which may do better the next time."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _NUMBERS:
            return True
        if any(words in str(error) for words in _WORDS):
            return True
        error = error.__cause__
    return False
