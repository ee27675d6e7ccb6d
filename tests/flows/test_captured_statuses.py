"""Statuses as a Kubernetes 1.34.4 reported them, each captured from the trouble that its file is named after.

Cut to what is read; names and addresses are replaced.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.diagnosis import Category, Effect
from flows.job_status import Stage, WorkerView, view_worker

CAPTURED = Path(__file__).parent / "captured"

GOES_ON = {
    "no-gpu-left": (Stage.UNSCHEDULABLE, Category.GPU, Effect.WAITS),
    "no-such-node": (Stage.UNSCHEDULABLE, Category.NODE_SELECTION, Effect.WAITS),
    "claim-missing": (Stage.UNSCHEDULABLE, Category.VOLUME_UNBOUND, Effect.WAITS),
    "quota-exceeded": (Stage.UNSCHEDULABLE, Category.QUOTA, Effect.WAITS),
    "image-not-found": (Stage.PULLING, Category.IMAGE, Effect.STUCK),
    "secret-missing": (Stage.STARTING, Category.REFERENCE, Effect.STUCK),
    "mount-fails": (Stage.STARTING, Category.VOLUME_MOUNT, Effect.STUCK),
    "preempted": (Stage.STOPPING, Category.PREEMPTED, Effect.FREE_RETRY),
    "evicted-by-api": (Stage.RETRYING, Category.DISRUPTED, Effect.FREE_RETRY),
    "pod-deleted": (Stage.RETRYING, Category.STOPPED, Effect.COUNTED_RETRY),
}
FAILED = {
    "out-of-memory": (Category.MEMORY, 137),
    "deadline": (Category.DEADLINE, 143),
    "command-not-found": (Category.CONTAINER, 128),
    "retries-exhausted": (Category.WORKER, 1),
    "exit-42": (Category.WORKER, 42),
}
WELL = {
    "suspended": Stage.QUEUED,
    "resumed": Stage.RUNNING,
    "suspended-again": Stage.QUEUED,
    "child-out-of-memory": Stage.DONE,
}


def view(name: str) -> WorkerView:
    captured: dict[str, Any] = json.loads((CAPTURED / f"{name}.json").read_text("utf-8"))
    return view_worker(captured["job"], captured["pods"], captured["events"])


@pytest.mark.parametrize("name", GOES_ON)
def test_trouble_of_a_job_that_goes_on(name: str) -> None:
    seen = view(name)
    assert seen.diagnosis is not None
    assert (seen.stage, seen.diagnosis.category, seen.diagnosis.effect) == GOES_ON[name]


@pytest.mark.parametrize("name", FAILED)
def test_trouble_that_ended_a_job(name: str) -> None:
    seen = view(name)
    assert seen.diagnosis is not None
    assert (seen.stage, seen.diagnosis.effect) == (Stage.FAILED, Effect.STOPS)
    assert (seen.diagnosis.category, seen.exit_code) == FAILED[name]


@pytest.mark.parametrize("name", WELL)
def test_what_is_no_trouble(name: str) -> None:
    seen = view(name)
    assert (seen.stage, seen.diagnosis) == (WELL[name], None)


def test_last_words_come_through_the_termination_message() -> None:
    seen = view("exit-42")
    assert seen.diagnosis is not None
    assert (seen.diagnosis.problem, seen.diagnosis.remedy) == ("gated.", "Set a token.")


def test_the_end_of_a_log_stands_in_for_last_words() -> None:
    seen = view("retries-exhausted")
    assert seen.diagnosis is not None
    assert "The end of its log: no space left. It was the last of 2 attempts." in seen.diagnosis.problem


def test_every_captured_status_is_looked_at() -> None:
    assert {path.stem for path in CAPTURED.iterdir()} == {*GOES_ON, *FAILED, *WELL}
