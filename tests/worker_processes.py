"""Worker processes, as a test sees them from outside."""

from pathlib import Path

import psutil


def document_of(process: psutil.Process) -> str:
    """Return the document that a worker was given; empty if the process is no worker, or has just ended."""
    try:
        command = process.cmdline()
        is_worker = process.status() != psutil.STATUS_ZOMBIE and command[1:3] == ["-m", "worker"]
        return Path(command[3]).read_text(encoding="utf-8") if is_worker else ""
    except (psutil.Error, OSError, IndexError):
        return ""
