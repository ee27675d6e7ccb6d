"""Whole comparisons that are killed again and again, at the command or at a worker, and come to the same end."""

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from kill_schedule import Ended, Form, Kill, delivered, draw_kills, write_report
from worker.contract.results import Attempt
from worker.contract.store import ResultsStore, RunRecords
from worker_processes import document_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]

FORMS: tuple[Form, ...] = ("SIGKILL", "SIGTERM", "SIGINT", "SIGSTOP, then SIGKILL", "SIGKILL of a worker")
SEEDS = (1, 2, 3)
ARMS = ("live-llama", "frozen-llama", "frozen-qwen2-5")
MARK = "FREEZE_BENCH_TEST_LIFE"
EXIT_CODES: dict[Form, set[int]] = {
    "SIGKILL": {-signal.SIGKILL},
    "SIGTERM": {-signal.SIGTERM, 128 + signal.SIGTERM},
    "SIGINT": {128 + signal.SIGINT},
    "SIGSTOP, then SIGKILL": {-signal.SIGKILL},
    "SIGKILL of a worker": {0},
}

FindDescendants = Callable[..., list[psutil.Process]]


@pytest.fixture(scope="module")
def collected() -> Iterator[list[Ended]]:
    """What every kill came to; the figures go into the report when all have been delivered."""
    collected: list[Ended] = []
    yield collected
    if len(collected) == len(FORMS) * len(SEEDS):
        write_report("comparisons", collected, "updates")


class Life:
    """One comparison, from its first start to its chart."""

    def __init__(self, folder: Path, start: Callable[[Path, Path], "subprocess.Popen[bytes]"]) -> None:
        self.folder = folder
        self._start = start
        self.results = folder / "results"

    def start(self) -> "subprocess.Popen[bytes]":
        return self._start(self.folder, self.results)

    def output(self) -> str:
        return (self.folder / "output").read_text("utf-8")

    def events(self, arm: str) -> list[dict[str, Any]]:
        """Return what the last worker of an arm has logged so far."""
        path = self.folder / "cache" / "logs" / "small" / f"{arm}.log"
        log = path.read_text("utf-8") if path.exists() else ""
        return [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]

    def shown(self, arm: str) -> int:
        """Return the step that the arm's last worker has told of."""
        return max((each["step"] for each in self.events(arm) if each["event"] == "progress"), default=0)

    def attempts(self, arm: str) -> list[Attempt]:
        return RunRecords(ResultsStore(str(self.results)), "small", arm, 0).read_attempts()

    def is_training(self) -> bool:
        return any(each["event"] == "features" for arm in ARMS for each in self.events(arm))

    def records(self) -> dict[str, bytes]:
        """Return everything that must not depend on how a comparison came to its end."""
        names = {"curve.jsonl", "predictions.jsonl", "result.json", "comparison.json", "data.json", "plan.json"}
        found = (path for path in self.results.rglob("*") if path.name in names)
        return {str(path.relative_to(self.results)): path.read_bytes() for path in found}


@pytest.fixture
def make_life(
    tmp_path: Path, workplace: Path, start_cli: Callable[..., "subprocess.Popen[bytes]"]
) -> Callable[[], Life]:
    """Return comparisons of the same plan, each with a store and a cache of its own."""
    numbers = itertools.count(1)
    longer = ["seeds=[0]", "training.steps=400", "training.batch_size=16"]

    def start(folder: Path, results: Path) -> "subprocess.Popen[bytes]":
        arguments = ["compare", workplace / "small.toml", *(word for each in longer for word in ("--set", each))]
        places = ["--results", results, "--cache", folder / "cache", "--workers", 2]
        return start_cli(*arguments, *places, output=folder / "output", **{MARK: str(folder)})

    def make() -> Life:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return Life(folder, start)

    return make


@dataclass(frozen=True)
class Course:
    """How long an undisturbed comparison takes to its end, in seconds."""

    from_start: float
    from_training: float

    def seconds_until(self, kill: Kill) -> float:
        """Return how long after its first output, or after its training began, a comparison is to be killed."""
        return kill.moment * (self.from_training if kill.is_in_training else self.from_start)


def run_undisturbed(life: Life) -> Course:
    """Run a comparison to its end, and return how long that took."""
    process = life.start()
    started_at, trained_at = time.monotonic(), None
    while process.poll() is None:
        if trained_at is None and life.is_training():
            trained_at = time.monotonic()
        time.sleep(0.02)
    assert process.returncode == 0, life.output()
    assert trained_at is not None
    return Course(time.monotonic() - started_at, time.monotonic() - trained_at)


def wait_for_moment(life: Life, process: "subprocess.Popen[bytes]", kill: Kill, course: Course) -> bool:
    """Wait until a comparison has come as far as the kill asks.

    Returns:
        Whether it is still there then.
    """
    began_at: float | None = None
    while process.poll() is None:
        if began_at is None and (life.is_training() if kill.is_in_training else life.output()):
            began_at = time.monotonic()
        if began_at is not None and time.monotonic() - began_at >= course.seconds_until(kill):
            return True
        time.sleep(0.02)
    return False


def end(life: Life, process: "subprocess.Popen[bytes]", kill: Kill, find_descendants: FindDescendants) -> Ended:
    """Deliver one kill, and wait until nothing is left of the command and all that it has started."""
    told_at = time.monotonic()
    if kill.form == "SIGKILL of a worker":
        # The flow starts it once more by itself.
        workers = [each for each in find_descendants(MARK, str(life.folder)) if '"kind":"run"' in document_of(each)]
        for worker in workers[:1]:
            worker.kill()
        exit_code = process.wait()
    else:
        with delivered(kill.form, psutil.Process(process.pid), {}):
            exit_code = process.wait()
    while find_descendants(MARK, str(life.folder)):
        time.sleep(0.02)
    return Ended(kill, exit_code, time.monotonic() - told_at)


class Reached:
    """How far the arms of a comparison had come when it was killed."""

    def __init__(self, life: Life, num_attempts_before: dict[str, int]) -> None:
        self._life = life
        self.num_attempts = {arm: len(life.attempts(arm)) for arm in ARMS}
        # A log that no new worker has written is an earlier kill's.
        self._shown = {arm: life.shown(arm) for arm in ARMS if self.num_attempts[arm] > num_attempts_before[arm]}

    def count_repeated(self) -> int:
        """Return the updates that later workers made again, once the comparison has come to its end."""
        repeated = 0
        for arm, shown in self._shown.items():
            later = self._life.attempts(arm)[self.num_attempts[arm] :]
            resumed = next((attempt.resumed_at_step for attempt in later if attempt.resumed_at_step), 0)
            repeated += max(0, shown - resumed) if later else 0
        return repeated


@pytest.mark.parametrize("seed", SEEDS)
def test_a_comparison_that_is_killed_in_every_form_ends_with_the_bytes_of_one_that_was_not(
    seed: int, make_life: Callable[[], Life], find_descendants: FindDescendants, collected: list[Ended]
) -> None:
    undisturbed = make_life()
    course = run_undisturbed(undisturbed)
    life, kills = make_life(), list[tuple[Ended, Reached]]()
    num_attempts = dict.fromkeys(ARMS, 0)
    for kill in draw_kills(seed, FORMS):
        while not wait_for_moment(life, process := life.start(), kill, course):
            # It was done before its moment had come, as one is that goes on near its end: the next life, or earlier.
            assert_same_end(life, process, undisturbed)
            life, num_attempts = make_life(), dict.fromkeys(ARMS, 0)
            kill = replace(kill, moment=kill.moment / 2)  # noqa: PLW2901 - the same kill, earlier
        ended = end(life, process, kill, find_descendants)
        assert ended.exit_code in EXIT_CODES[kill.form], life.output()
        assert "Traceback" not in life.output()
        kills.append((ended, Reached(life, num_attempts)))
        num_attempts = kills[-1][1].num_attempts
        if ended.exit_code == 0:
            assert_same_end(life, process, undisturbed)
            life, num_attempts = make_life(), dict.fromkeys(ARMS, 0)
    assert_same_end(life, life.start(), undisturbed)
    collected.extend(replace(ended, num_repeated=reached.count_repeated()) for ended, reached in kills)


def assert_same_end(life: Life, process: "subprocess.Popen[bytes]", undisturbed: Life) -> None:
    """A comparison is over, and nothing in its store tells that it was another one."""
    assert process.wait() == 0, life.output()
    assert life.records() == undisturbed.records()
    assert len(life.records()) == 3 * len(ARMS) + 3
