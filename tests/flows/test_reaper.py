"""The reaper: which Jobs it deletes, and that it deletes none when it cannot know. Prefect's server is a real one."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.cluster_settings import KubernetesObject
from flows.flow_runs import has_other_run
from flows.reaper import OWNERLESS_SECONDS, Owners, Reaper, WorkingJob, judge_jobs, read_working_jobs
from worker.contract.errors import FreezeBenchError

NOBODY = Owners((), ())
NOWHERE = "http://127.0.0.1:9/api"
"""Nothing listens on the discard port."""


def make_job(name: str, comparison: str, flow_run: UUID | str | None = None, **status: object) -> KubernetesObject:
    metadata: dict[str, Any] = {
        "name": name,
        "uid": f"uid of {name}",
        "labels": {"freeze-bench/comparison": comparison},
    }
    if flow_run is not None:
        metadata["annotations"] = {"freeze-bench/flow-run": str(flow_run)}
    return {"metadata": metadata, "status": status}


def at_work(name: str, comparison: str = "demo", flow_run: UUID | None = None) -> WorkingJob:
    return WorkingJob(make_job(name, comparison, flow_run), comparison, flow_run)


def test_a_job_goes_when_it_has_been_without_an_owner_for_long_enough() -> None:
    job = at_work("a")
    first = judge_jobs([job], NOBODY, {}, now=100.0)
    shortly_before = judge_jobs([job], NOBODY, first.ownerless_since, now=100.0 + OWNERLESS_SECONDS - 1)
    then = judge_jobs([job], NOBODY, shortly_before.ownerless_since, now=100.0 + OWNERLESS_SECONDS)

    assert first.doomed == shortly_before.doomed == ()
    assert then.doomed == (job,)


def test_a_job_with_an_owner_stays_for_ever() -> None:
    owners = Owners({"demo"}, ())
    first = judge_jobs([at_work("a")], owners, {}, now=0.0)

    assert judge_jobs([at_work("a")], owners, first.ownerless_since, now=1e9).doomed == ()


def test_an_owner_that_comes_back_starts_the_time_anew() -> None:
    job = at_work("a")
    ownerless = judge_jobs([job], NOBODY, {}, now=0.0)
    owned = judge_jobs([job], Owners({"demo"}, ()), ownerless.ownerless_since, now=1000.0)
    again = judge_jobs([job], NOBODY, owned.ownerless_since, now=OWNERLESS_SECONDS + 1)

    assert again.doomed == ()
    assert judge_jobs([job], NOBODY, again.ownerless_since, now=2 * OWNERLESS_SECONDS + 1).doomed == (job,)


def test_a_job_that_was_made_again_has_its_own_time() -> None:
    old, new = at_work("a"), at_work("a")
    new.job["metadata"]["uid"] = "another"
    first = judge_jobs([old], NOBODY, {}, now=0.0)

    assert judge_jobs([new], NOBODY, first.ownerless_since, now=OWNERLESS_SECONDS).doomed == ()


def test_a_job_of_a_cancelled_flow_run_goes_at_once_unless_another_has_its_comparison() -> None:
    flow_run = uuid4()
    cancelled = Owners({"other"}, {flow_run})

    verdict = judge_jobs([at_work("a", "demo", flow_run), at_work("b", "other", flow_run)], cancelled, {}, now=0.0)

    assert [job.name for job in verdict.doomed] == ["a"]


def test_what_is_finished_or_being_deleted_is_left_alone() -> None:
    def ended(kind: str, status: str) -> list[dict[str, str]]:
        return [{"type": kind, "status": status}]

    deleted = make_job("deleted", "demo")
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    jobs = [
        make_job("complete", "demo", conditions=ended("Complete", "True")),
        make_job("failed", "demo", conditions=ended("Failed", "True")),
        make_job("suspended", "demo", conditions=ended("Suspended", "True")),
        make_job("ending", "demo", conditions=ended("SuccessCriteriaMet", "True")),
        make_job("running", "demo", active=1),
        make_job("new", "demo", flow_run="none"),
        deleted,
    ]

    assert [job.name for job in read_working_jobs(jobs)] == ["suspended", "ending", "running", "new"]


class Cluster:
    """A list of Jobs, and which of them were deleted."""

    def __init__(self, *jobs: KubernetesObject) -> None:
        self.jobs = list(jobs)
        self.deleted: list[str] = []

    def delete(self, job: KubernetesObject) -> None:
        self.deleted.append(job["metadata"]["name"])
        self.jobs.remove(job)


@pytest.fixture
def make_flow_run(prefect_server: str) -> Iterator[Callable[..., UUID]]:
    """Make a flow run on the server in some state, about a plan."""
    assert prefect_server
    from prefect import flow  # noqa: PLC0415 - seconds to import
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.objects import State  # noqa: PLC0415
    from prefect.states import Cancelled  # noqa: PLC0415

    @flow(name="of-the-reaper", validate_parameters=False)
    def about(plan: dict[str, Any]) -> None:
        del plan

    with get_client(sync_client=True) as client:
        made = []

        def make(name: str, state: State[Any]) -> UUID:
            run = client.create_flow_run(about, parameters={"plan": {"name": name}}, state=state)
            client.set_flow_run_state(run.id, state, force=True)
            made.append(run.id)
            return run.id

        yield make
        for each in made:
            client.set_flow_run_state(each, Cancelled(), force=True)


def test_the_server_says_whose_jobs_have_an_owner(make_flow_run: Callable[..., UUID]) -> None:
    from prefect.states import (  # noqa: PLC0415 - seconds to import
        AwaitingRetry,
        Cancelled,
        Cancelling,
        Completed,
        Crashed,
        Paused,
        Pending,
        Running,
    )

    kept = (Running, Pending, AwaitingRetry, Cancelling, Paused)
    gone = (Completed, Crashed, Cancelled)
    runs = {state.__name__: make_flow_run(f"Plan {state.__name__}!", state()) for state in (*kept, *gone)}
    cluster = Cluster(*(make_job(name, f"plan-{name.lower()}", run) for name, run in runs.items()))
    reaper = Reaper(lambda: cluster.jobs, cluster.delete)

    reaper.look(0.0)
    at_once = list(cluster.deleted)
    reaper.look(OWNERLESS_SECONDS)

    assert at_once == ["Cancelled"]
    assert cluster.deleted == ["Cancelled", "Completed", "Crashed"]


def test_while_the_server_is_away_nothing_is_deleted_and_no_time_passes(prefect_server: str) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds to import

    cluster = Cluster(make_job("a", "nobodys"))
    reaper = Reaper(lambda: cluster.jobs, cluster.delete)
    reaper.look(0.0)

    with temporary_settings(updates={PREFECT_API_URL: NOWHERE}):
        reaper.look(OWNERLESS_SECONDS)
    with temporary_settings(updates={PREFECT_API_URL: prefect_server}):
        reaper.look(OWNERLESS_SECONDS + 1)
        back = list(cluster.deleted)
        reaper.look(2 * OWNERLESS_SECONDS + 1)

    assert back == []
    assert cluster.deleted == ["a"]


@pytest.mark.usefixtures("prefect_server")
def test_a_job_that_cannot_be_deleted_is_tried_again_and_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(make_job("a", "nobodys"), make_job("b", "nobodys"))
    problems = ["The API server says no."]

    def delete(job: KubernetesObject) -> None:
        if problems:
            raise FreezeBenchError(problems.pop(), remedy="Ask again.")
        cluster.delete(job)

    reaper = Reaper(lambda: list(cluster.jobs), delete)
    for now in (0.0, OWNERLESS_SECONDS, OWNERLESS_SECONDS + 1):
        reaper.look(now)

    assert cluster.deleted == ["b", "a"]
    assert "The Job a stays for now: The API server says no." in caplog.text


def test_a_cluster_that_does_not_answer_starts_the_time_anew() -> None:
    answers: list[list[KubernetesObject] | None] = [[make_job("a", "nobodys")], None]

    def list_jobs() -> list[KubernetesObject]:
        jobs = answers.pop(0)
        if jobs is None:
            raise FreezeBenchError("The API server does not answer.", remedy="Wait.")
        return jobs

    reaper = Reaper(list_jobs, lambda _: pytest.fail("a Job was deleted"))
    reaper.look(0.0)
    reaper.look(OWNERLESS_SECONDS)

    assert not answers


def test_once_started_it_looks_by_itself() -> None:
    has_looked = threading.Event()

    def list_jobs() -> list[KubernetesObject]:
        has_looked.set()
        return []

    Reaper(list_jobs, lambda _: None).start()

    assert has_looked.wait(30)


def test_a_comparison_has_another_run_only_while_that_is_unfinished(make_flow_run: Callable[..., UUID]) -> None:
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - seconds to import
    from prefect.states import Cancelled, Cancelling, Running  # noqa: PLC0415

    cancelled = make_flow_run("Shared by two", Cancelling())
    make_flow_run("Shared by two", Cancelled())
    with get_client(sync_client=True) as client:
        alone = has_other_run(client, "shared-by-two", cancelled)
        make_flow_run("Shared by two", Running())
        shared = has_other_run(client, "shared-by-two", cancelled)

    assert not alone
    assert shared
