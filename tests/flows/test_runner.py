"""A served flow run: it ignores Ctrl-C, and stops all the same when another has taken its comparison."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import PurePosixPath
from threading import Event

from flows.runner import end_with_runner
from worker.contract.errors import ComparisonBusyError
from worker.contract.lease import LeaseHolder
from worker.contract.locks import only_run_of
from worker.contract.store import ResultsStore

LOCK = PurePosixPath("trial/.lock")
OTHER = LeaseHolder(token="other", host="elsewhere", process=7)  # noqa: S106 - no password
SECONDS = 60


def run_served(url: str, said: Connection) -> None:
    """Hold a comparison as a served flow run does, and say how that ends."""
    end_with_runner()
    try:
        with only_run_of(ResultsStore(url), "trial", lease_seconds=1) as is_ours:
            said.send("held")
            try:
                Event().wait(SECONDS)
            finally:
                said.send(is_ours())
    except ComparisonBusyError as error:
        said.send(error.remedy)


def test_a_served_run_that_has_lost_its_comparison_stops(s3_url: str) -> None:
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=run_served, args=(s3_url, there))
    child.start()
    try:
        assert here.poll(SECONDS)
        assert here.recv() == "held"
        ResultsStore(s3_url).write_record(LOCK, OTHER)

        assert here.poll(SECONDS / 2)
        assert here.recv() is False
        assert here.recv() == "This one was away for too long, and has stopped."
    finally:
        child.kill()
        child.join()
    assert ResultsStore(s3_url).read_record(LOCK, LeaseHolder) == OTHER
