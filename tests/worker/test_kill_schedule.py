"""Workers that are killed again and again, in every form and at any moment, and come to the same end."""

import itertools
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from kill_schedule import Ended, Form, Kill, delivered, draw_kills, write_report
from small_disk import small_disk
from worker.contract.arms import Mode
from worker.contract.config import PreparedData, RunConfig
from worker.contract.plan import LANGUAGE_NAMES, DataSpec
from worker.contract.store import ResultsStore, RunRecords
from worker.data import prepare_data

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

FORMS: tuple[Form, ...] = ("SIGKILL", "SIGTERM", "SIGSTOP, then SIGKILL", "memory limit", "store full", "cache full")
SEEDS = (1, 2, 3)
MEBIBYTE = 2**20
SETTINGS: dict[Mode, dict[str, Any]] = {
    Mode.LIVE: {"steps": 200, "batch_size": 16},
    Mode.FROZEN: {"steps": 6000, "batch_size": 32, "eval_every": 10},
}
EXIT_CODES: dict[Form, set[int]] = {
    "SIGKILL": {-signal.SIGKILL},
    "SIGTERM": {143, -signal.SIGTERM},  # the second before the worker has begun to listen
    "SIGSTOP, then SIGKILL": {-signal.SIGKILL},
    "memory limit": {1, -signal.SIGABRT, -signal.SIGSEGV},  # the signals: of libraries that do not ask for less
    "store full": {1},
    "cache full": {143, -signal.SIGTERM},
}
MAX_SECONDS_AT_RISK = 2.0
"""Without a checkpoint: 0.1 is asked for, or twenty times what one takes to write, a few hundredths here."""
EXECUTION = {"flush_seconds": 0.05, "checkpoint_seconds": 0.1, "tokens_per_batch": 256, "use_feature_cache": False}
RESUMPTIONS = {"resumed", "was done"}
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="session")
def data(cache: Path) -> PreparedData:
    """Enough texts for a life of several seconds."""
    prepared = prepare_data(DataSpec(source=LANGUAGE_NAMES, validation_examples=128, test_examples=128), cache)
    assert prepared is not None
    return prepared


@pytest.fixture(scope="module")
def collected() -> Iterator[list[Ended]]:
    """What every kill came to; the figures go into the report when all have been delivered."""
    collected: list[Ended] = []
    yield collected
    if len(collected) == len(FORMS) * len(SEEDS) * len(SETTINGS):
        write_report("workers", collected, "updates")


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[Form, Path]]:
    """A results store and a cache on small disks of their own."""
    for name in ("results", "cache"):
        (tmp_path / name).mkdir()
    with small_disk(tmp_path / "results", 64 * MEBIBYTE), small_disk(tmp_path / "cache", 64 * MEBIBYTE):
        yield {"store full": tmp_path / "results", "cache full": tmp_path / "cache"}


class Life:
    """One arm, from its first start to its result."""

    def __init__(self, name: str, config: RunConfig, start: Start, folder: Path) -> None:
        self.config = config
        self.num_starts = 0
        self._name = name
        self._start = start
        self._folder = folder

    def start(self) -> "subprocess.Popen[bytes]":
        self.num_starts += 1
        return self._start(self.config, name=f"{self._name}-{self.num_starts}")

    def events(self, number: int) -> list[dict[str, Any]]:
        """Return what a start has logged so far."""
        log = (self._folder / f"{self._name}-{number}.log").read_text("utf-8")
        whole, _, _ = log.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def has_logged(self, **values: str) -> bool:
        """Whether the last start has logged an event with these values."""
        return any(values.items() <= event.items() for event in self.events(self.num_starts))

    def seconds_between(self, earlier: str, later: str) -> float:
        """Return the time between two events of the first start."""
        first, second = (next(each for each in self.events(1) if each["event"] == event) for event in (earlier, later))
        return seconds_between(first, second)

    def share_done(self) -> float:
        """Return the share of the steps that the next start will find done."""
        steps = [self.last_step("checkpoint", number) for number in range(1, self.num_starts)]
        return max(steps, default=0) / self.config.training.steps

    def first_step_after(self, number: int) -> int:
        """Return the step from which the next start went on that came to train at all; 0 if it began anew."""
        for later in range(number + 1, self.num_starts + 1):
            if any(each["event"] == "seeds" and not each["missing"] for each in self.events(later)):
                return self.config.training.steps  # it was killed after its result had been written
            trained = [each for each in self.events(later) if each["event"] in {"progress", *RESUMPTIONS}]
            if trained:
                return max((each["step"] for each in trained if each["event"] in RESUMPTIONS), default=0)
        return 0

    def last_step(self, event: str, number: int) -> int:
        """Return the highest step of an event that a start has logged; 0 if there was none."""
        return max((each["step"] for each in self.events(number) if each["event"] == event), default=0)


@pytest.fixture
def make_life(
    cache: Path,
    disks: dict[Form, Path],
    tmp_path: Path,
    make_config: Callable[..., RunConfig],
    start_worker: Start,
) -> Callable[[Mode], Life]:
    """Return arms that are the same experiment, each with a results store of its own."""
    for name in ("data", "backbones", "tokens"):
        if (cache / name).is_dir():
            (disks["cache full"] / name).symlink_to(cache / name)
    numbers = itertools.count(1)

    def make(mode: Mode) -> Life:
        name = f"life-{next(numbers)}"
        places = {"results": str(disks["store full"] / name), "cache": str(disks["cache full"])}
        return Life(name, make_config(mode, execution=EXECUTION | places, **SETTINGS[mode]), start_worker, tmp_path)

    return make


def wait_for_moment(life: Life, worker: "subprocess.Popen[bytes]", kill: Kill, undisturbed: Life) -> bool:
    """Wait until a worker has come as far as the kill asks.

    Returns:
        Whether it is still there then.
    """
    event = "features" if kill.is_in_training else "started"
    until = "done" if kill.is_in_training else "features"
    share_left = 1 - life.share_done() if kill.is_in_training else 1.0
    seconds = kill.moment * share_left * undisturbed.seconds_between(event, until)
    began_at: float | None = None
    while worker.poll() is None:
        if began_at is None and life.has_logged(event=event):
            began_at = time.monotonic()
        if began_at is not None and time.monotonic() - began_at >= seconds:
            return True
        time.sleep(0.01)
    return False


def end(life: Life, worker: "subprocess.Popen[bytes]", kill: Kill, disks: dict[Form, Path]) -> Ended:
    """Deliver one kill, and wait for what it comes to."""
    told_at = time.monotonic()
    with delivered(kill.form, psutil.Process(worker.pid), disks):
        if kill.form == "cache full":
            # That costs checkpoints and not the run, which is ended here once it has met it.
            while worker.poll() is None and not life.has_logged(event="checkpoint not written"):
                time.sleep(0.01)
            worker.send_signal(signal.SIGTERM)
        exit_code = worker.wait()
    return Ended(kill, exit_code, time.monotonic() - told_at)


@pytest.mark.parametrize("mode", SETTINGS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_that_is_killed_in_every_form_ends_with_the_bytes_of_one_that_was_not(
    mode: Mode, seed: int, make_life: Callable[..., Life], disks: dict[Form, Path], collected: list[Ended]
) -> None:
    undisturbed = make_life(mode)
    assert undisturbed.start().wait() == 0
    kills: list[tuple[Ended, Life, int]] = []
    life = make_life(mode)
    for kill in draw_kills(seed, FORMS):
        while True:
            worker = life.start()
            if wait_for_moment(life, worker, kill, undisturbed):
                ended = end(life, worker, kill, disks)
                if ended.exit_code:
                    break
            # It was done before its moment had come, or did not feel it.
            assert_same_end(life, worker, undisturbed)
            life = make_life(mode)
        assert ended.exit_code in EXIT_CODES[kill.form], life.events(life.num_starts)[-1]
        kills.append((ended, life, life.num_starts))
    assert_same_end(life, life.start(), undisturbed)
    collected.extend(judge(*each) for each in kills)


def assert_same_end(life: Life, worker: "subprocess.Popen[bytes]", undisturbed: Life) -> None:
    """A life is over, and nothing in its store tells that it was another one."""
    assert worker.wait() == 0, life.events(life.num_starts)[-1]
    assert bytes_of(life) == bytes_of(undisturbed)
    attempts = records_of(life).read_attempts()
    assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
    assert attempts[-1].exit_code == 0


def judge(ended: Ended, life: Life, number: int) -> Ended:
    """Count what was done again after a kill, and hold it to the last checkpoint and to the time since then."""
    shown, resumed = life.last_step("progress", number), life.first_step_after(number)
    assert resumed >= life.last_step("checkpoint", number)
    if ended.kill.form == "SIGTERM":
        assert resumed >= shown
    if ended.kill.form != "cache full":
        assert seconds_at_risk(life.events(number)) <= MAX_SECONDS_AT_RISK
    return replace(ended, num_repeated=max(0, shown - resumed))


def seconds_at_risk(events: list[dict[str, Any]]) -> float:
    """Return the longest time in which an attempt went on without a checkpoint, without its slowest step."""
    training = [each for each in events if each["event"] in {"progress", "checkpoint", "resumed"}]
    if not training:
        return 0.0
    kept = [each for each in training if each["event"] == "checkpoint"]
    marks = [training[0], *kept, training[-1]]
    return max(map(seconds_between, marks, marks[1:])) - max(map(seconds_between, training, training[1:]), default=0.0)


def seconds_between(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    first, second = (datetime.fromisoformat(each["timestamp"]) for each in (earlier, later))
    return (second - first).total_seconds()


def records_of(life: Life) -> RunRecords:
    config = life.config
    return RunRecords(ResultsStore(config.execution.results), config.comparison, config.arm.slug, 0)


def bytes_of(life: Life) -> list[bytes | None]:
    records = records_of(life)
    return [records.store.read(path) for path in (records.curve, records.predictions, records.result)]
