"""The reaper: deletes the Jobs of a release that nobody waits for any more.

Whoever ends a comparison deletes its Jobs. This is for the case that it could not: it was killed at that moment, or
its flow run was deleted on Prefect's server. A Job that has no owner keeps its GPU for as long as its arm trains.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.cluster_settings import KubernetesObject
from flows.flow_runs import UNFINISHED, comparison_of, filter_flow_runs, read_flow_runs
from flows.manifests import COMPARISON_LABEL, FLOW_RUN_ANNOTATION
from flows.pod_status import is_being_deleted, is_true
from worker.contract.errors import FreezeBenchError

OWNERLESS_SECONDS = 1800.0
"""For how long a Job must have been without an owner. Long enough to retry a crashed flow run, which adopts it."""

CHECK_SECONDS = 20.0
"""Between looks."""

_ANSWER_SECONDS = 10.0

log = logging.getLogger("freeze_bench.reaper")
"""Tells what is deleted, and why nothing can be. Whoever runs decides where that is shown."""


@dataclass(frozen=True, slots=True)
class WorkingJob:
    """A Job of the release that is not finished."""

    job: KubernetesObject
    comparison: str
    flow_run: UUID | None
    """Id of the flow run that made it; None if it was made by none."""

    @property
    def name(self) -> str:
        """Which Job; another may have the name later."""
        return str(self.job["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Of this Job alone: one that is made again has another, and its own time."""
        return str(self.job["metadata"]["uid"])


@dataclass(frozen=True, slots=True)
class Owners:
    """What Prefect's server says about flow runs."""

    comparisons: Collection[str]
    """That an unfinished flow run is about."""
    cancelled: Collection[UUID]
    """Ids of those flow runs that were asked for and are cancelled."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comes of one look."""

    doomed: tuple[WorkingJob, ...]
    """To be deleted now."""
    ownerless_since: Mapping[str, float]
    """When each Job without an owner was first seen without one, by uid."""


def judge_jobs(jobs: Iterable[WorkingJob], owners: Owners, ownerless_since: Mapping[str, float], now: float) -> Verdict:
    """Decide which Jobs are deleted.

    A Job goes when its comparison has had no unfinished flow run for ``OWNERLESS_SECONDS``; at once if the flow run
    that made it was cancelled, because then nobody wants it.

    Args:
        jobs: What is at work.
        owners: As seen after the Jobs were: a Job is then never older than its owner.
        ownerless_since: From the last look.
        now: Seconds on a clock that never jumps.
    """
    ownerless = [job for job in jobs if job.comparison not in owners.comparisons]
    since = {job.uid: ownerless_since.get(job.uid, now) for job in ownerless}
    doomed = tuple(
        job for job in ownerless if job.flow_run in owners.cancelled or now - since[job.uid] >= OWNERLESS_SECONDS
    )
    return Verdict(doomed, since)


def read_working_jobs(jobs: Iterable[KubernetesObject]) -> list[WorkingJob]:
    """Return those of a list of Jobs that are at work; what is being deleted is left out."""
    return [
        WorkingJob(job, job["metadata"]["labels"][COMPARISON_LABEL], _maker_of(job))
        for job in jobs
        if not (is_true(job, "Complete") or is_true(job, "Failed") or is_being_deleted(job))
    ]


def _maker_of(job: KubernetesObject) -> UUID | None:
    try:
        return UUID(job["metadata"].get("annotations", {}).get(FLOW_RUN_ANNOTATION, ""))
    except ValueError:
        return None


def find_owners(flow_runs: Collection[UUID]) -> Owners:
    """Ask Prefect's server, once, who owns what.

    Every flow run on the server counts, also of another deployment or of none: where in doubt, a Job stays.

    Args:
        flow_runs: Ids of those to be told of if they are cancelled.

    Raises:
        httpx.HTTPError: The server does not answer.
    """
    once = {PREFECT_API_REQUEST_TIMEOUT: _ANSWER_SECONDS, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(updates=once), get_client(sync_client=True) as client:
        unfinished = read_flow_runs(client, filter_flow_runs(UNFINISHED))
        cancelled = read_flow_runs(client, filter_flow_runs([StateType.CANCELLED], ids=flow_runs))
    comparisons = {comparison for run in unfinished if (comparison := comparison_of(run)) is not None}
    return Owners(comparisons, {run.id for run in cancelled})


class Reaper:
    """Looks again and again, in a daemon thread, from ``start`` on.

    While the cluster or Prefect's server does not answer, nothing is deleted, and the time without an owner counts
    from the beginning: what was not seen did not happen. The same goes for a runner that starts anew.

    Args:
        list_jobs: Returns the Jobs of the release.
        delete_job: Deletes a Job with its pods.
    """

    def __init__(
        self, list_jobs: Callable[[], Iterable[KubernetesObject]], delete_job: Callable[[KubernetesObject], object]
    ) -> None:
        """Nothing is looked at yet."""
        self._list_jobs = list_jobs
        self._delete_job = delete_job
        self._ownerless_since: Mapping[str, float] = {}
        self._is_blind = False

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="reaper", daemon=True).start()

    def look(self, now: float) -> None:
        """Look once, and delete what has to go.

        Args:
            now: Seconds on a clock that never jumps.
        """
        try:
            jobs = read_working_jobs(self._list_jobs())
            owners = find_owners({job.flow_run for job in jobs if job.flow_run}) if jobs else Owners((), ())
        except Exception as error:  # noqa: BLE001 - whatever a server answers, this looks again
            if not self._is_blind:
                log.warning("Until it can be told again whether Jobs have an owner, none is deleted: %s", error)
            self._is_blind, self._ownerless_since = True, {}
            return
        self._is_blind = False
        verdict = judge_jobs(jobs, owners, self._ownerless_since, now)
        self._ownerless_since = verdict.ownerless_since
        for job in verdict.doomed:
            self._delete(job)

    def _delete(self, job: WorkingJob) -> None:
        log.warning("The Job %s of the comparison %s has no owner any more: deleting it.", job.name, job.comparison)
        try:
            self._delete_job(job.job)
        except FreezeBenchError as error:
            log.warning("The Job %s stays for now: %s", job.name, error)

    def _run(self) -> None:
        while True:
            self.look(time.monotonic())
            time.sleep(CHECK_SECONDS)
