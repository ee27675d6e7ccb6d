"""Processes of pods as the machine sees them: for ends that no client of the API server can time well enough."""

import json
import time
from pathlib import Path

import psutil

from cluster.enclosure import EnclosureError
from cluster.release import Release

LOOK_SECONDS = 0.01
"""Between looks at how far a worker is. Scoring the test split, which comes after its last step, takes much longer."""


def kill_after_last_step(release: Release, comparison: str, arm: str, *, seconds: float) -> int:
    """Kill a worker outright as soon as it has made its last step, before its result is written.

    The last step is told by its progress, which a worker always writes there.

    Args:
        release: Whose worker.
        comparison: What it trains for.
        arm: What it trains.
        seconds: How long to wait for it; attempts that end before are waited out.

    Returns:
        The id of the process that was killed.

    Raises:
        EnclosureError: None has come to its last step.
    """
    progress = Path("results", comparison, "runs", arm, "progress.json")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process = _find_worker(release, comparison, arm)
        if process is None:
            time.sleep(0.1)
        elif _comes_to_its_end(process, progress, deadline):
            process.kill()
            return process.pid
    raise EnclosureError(f"waited {seconds:.0f} s in vain for the last step of {arm}")


def _find_worker(release: Release, comparison: str, arm: str) -> psutil.Process | None:
    """Return the worker of an arm's pod that runs, if one does."""
    selector = f"freeze-bench/comparison={comparison},freeze-bench/arm={arm},freeze-bench/mode"
    uids = [pod["metadata"]["uid"] for pod in release.pods(selector) if pod["status"].get("phase") == "Running"]
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] and process.info["cmdline"][1:3] == ["-m", "worker"]:
            groups = _read(Path(f"/proc/{process.pid}/cgroup"))
            if any(uid in groups for uid in uids):
                return process
    return None


def _comes_to_its_end(process: psutil.Process, progress: Path, deadline: float) -> bool:
    """Wait for the last step of a process; False if the process is gone before."""
    path = Path(f"/proc/{process.pid}/root") / progress
    started_at = process.create_time()
    while process.is_running() and time.monotonic() < deadline:
        try:
            seen = json.loads(_read(path) or "{}")
        except ValueError:
            seen = {}
        is_of_this = seen.get("started_at", 0.0) >= started_at  # an earlier attempt's stays until there is news
        if is_of_this and seen["num_updates"] == seen["num_planned"]:
            return True
        time.sleep(LOOK_SECONDS)
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:  # it ends, or has not begun to write
        return ""
