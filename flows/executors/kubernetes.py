"""Workers as Kubernetes Jobs: one for each document."""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from flows.adoption import Adoption, judge
from flows.cluster import Cluster, ClusterError
from flows.cluster_settings import (
    WORKER_TEMPLATES_ENV,
    KubernetesObject,
    KubernetesSettings,
    WorkerTemplates,
    load_templates,
    read_settings,
)
from flows.diagnosis import Effect
from flows.executors import CloseReason, ExecutorClosedError, WorkerOutcome, WorkerState
from flows.executors.lookout import LOOK_SECONDS, Lookout
from flows.executors.turnstile import Turnstile
from flows.job_status import Stage, WorkerView
from flows.manifests import build_job, comparison_selector
from flows.pod_status import is_being_deleted
from flows.preflight import ClusterFacts, check_cluster_plan, find_gpu_memory
from flows.settings import RunnerSettings
from worker.contract.config import Execution, PrepareConfig, RunConfig
from worker.contract.errors import ConfigError, ExitCode
from worker.contract.plan import Plan
from worker.contract.results import ArmState, Failure

CLOSE_SECONDS = 15.0
"""How long ``close`` waits until Jobs and pods are gone: of the 30 s that Prefect gives a cancelled flow run."""

STUCK_SECONDS = 600.0
"""How long a worker waits for what does not come by itself, such as an image, while its pod may hold a GPU."""

_GONE_POLL_SECONDS = 1.0

log = logging.getLogger("freeze_bench.kubernetes")
"""Tells what could not be checked. Whoever runs decides where that is shown."""


@dataclass(frozen=True, slots=True)
class Release:
    """The release of the chart whose Jobs are made."""

    settings: KubernetesSettings
    templates: WorkerTemplates


class KubernetesExecutor:
    """Runs each worker as a Job, and takes over the Jobs that an earlier runner left.

    Jobs outlive this process. They are deleted when the comparison is cancelled, and left alone when the runner ends.

    Args:
        cluster: Where Jobs are made.
        release: What they are made of.
        execution: What workers are told.
        comparison: Whose Jobs these are.
        flow_run: Id of the Prefect flow run.
        num_workers: Jobs at once; None leaves it to the cluster's scheduler.
    """

    workers_outlive_flow = True

    def __init__(
        self,
        cluster: Cluster,
        release: Release,
        execution: Execution,
        *,
        comparison: str,
        flow_run: str,
        num_workers: int | None = None,
    ) -> None:
        """Read nothing but the release's ConfigMap, which is to own the Jobs."""
        self.execution = execution
        self.memory_limit_bytes: int | None = None  # whoever has looked at the cluster may set it
        self._cluster = cluster
        self._release = release
        self._flow_run = flow_run
        self._is_closed = threading.Event()
        self._turnstile = Turnstile(range(num_workers)) if num_workers else None
        self._selector = comparison_selector(release.settings, comparison)
        self._lookout = Lookout(cluster, self._selector)
        self._owner = cluster.read_config_map(release.settings.template_config_map)

    def run(self, config: RunConfig | PrepareConfig, on_change: Callable[[WorkerState], None]) -> WorkerOutcome:
        """Make or adopt a worker's Job, and follow it to its end.

        Raises:
            ClusterError: Kubernetes refuses the Job, or its name is taken by another that is at work.
            ExecutorClosedError: ``close`` was called before or while the worker ran.
        """
        turn: AbstractContextManager[object] = self._turnstile.place(config) if self._turnstile else nullcontext()
        with turn:
            settings, template = self._release.settings, self._release.templates.template_of(config)
            manifest = build_job(config, settings, template, self._owner, self._flow_run)
            return self._follow(self._create_or_adopt(manifest, on_change), on_change)

    def close(self, reason: CloseReason) -> None:
        """Stop following. After a cancellation, delete the comparison's Jobs with their pods; otherwise leave them."""
        self._is_closed.set()
        if self._turnstile:
            self._turnstile.close()
        self._lookout.close()
        self._cluster.give_up()  # whoever waits for it stops; below it is asked again
        give_up_at = time.monotonic() + CLOSE_SECONDS
        is_done = reason is not CloseReason.CANCELLED
        while not is_done and time.monotonic() < give_up_at:
            try:
                is_done = self._delete_jobs()
            except ClusterError as error:
                log.warning("%s", error)
            if not is_done:
                time.sleep(_GONE_POLL_SECONDS)

    def _delete_jobs(self) -> bool:
        """Delete what is not being deleted yet, such as a Job that was being made; return whether all are gone."""
        jobs = self._cluster.list_jobs(self._selector)
        if not all(map(is_being_deleted, jobs)):
            self._cluster.delete_jobs(self._selector)
        return not jobs

    def _create_or_adopt(
        self, manifest: KubernetesObject, on_change: Callable[[WorkerState], None]
    ) -> KubernetesObject:
        """Make a Job, or take over the one that has its name.

        Raises:
            ClusterError: It is refused, or another Job of its name is at work.
            ExecutorClosedError: ``close`` was called.
        """
        name = manifest["metadata"]["name"]
        while not self._is_closed.is_set():
            try:
                created = self._cluster.create_job(manifest)
            except ClusterError as error:
                if not error.is_quota:
                    raise
                on_change(WorkerState(ArmState.QUEUED, "waiting for the namespace's quota"))
                self._is_closed.wait(LOOK_SECONDS)
                continue
            if created is not None:
                return created
            found = self._cluster.read_job(name)
            if found is None:
                continue  # it was deleted between the two questions
            decision = judge(found, manifest)
            if decision is Adoption.ADOPT:
                return found
            if decision is Adoption.REFUSE:
                raise self._is_taken(name)
            if decision is Adoption.REPLACE:
                self._cluster.delete_job(found)
            on_change(WorkerState(ArmState.QUEUED, "waiting until its earlier Job is gone"))
            self._wait_until_gone(found)
        raise ExecutorClosedError

    def _is_taken(self, name: str) -> ClusterError:
        namespace = self._cluster.namespace
        return ClusterError(
            f"The Job {name} in {namespace} is at work for another plan or version.",
            remedy=f"Wait for its end, or delete it: kubectl -n {namespace} delete job {name}. "
            "Then submit the plan again.",
        )

    def _wait_until_gone(self, job: KubernetesObject) -> None:
        for view in self._lookout.follow(job):
            if view is None:
                return

    def _follow(self, job: KubernetesObject, on_change: Callable[[WorkerState], None]) -> WorkerOutcome:
        shown: WorkerState | None = None
        limits = _Limits(self._release.settings.pending_limit_seconds)
        for view in self._lookout.follow(job):
            if view is None or view.stage is Stage.DELETED:
                return _gone(job, self._cluster.namespace)
            if view.is_final:
                return _outcome(view)
            state = WorkerState(ArmState.RUNNING if view.is_running else ArmState.QUEUED, view.detail)
            if state != shown:
                on_change(state)
                shown = state
            outcome = limits.check(view)
            if outcome is not None:
                self._cluster.delete_job(job)
                return outcome
        raise ExecutorClosedError


class _Limits:
    """How long a worker may wait for a place, and how long for what does not come by itself."""

    def __init__(self, pending_seconds: int | None) -> None:
        self._pending_seconds = pending_seconds
        self._waiting_since = self._stuck_since = time.monotonic()

    def check(self, view: WorkerView) -> WorkerOutcome | None:
        """Return what a worker has come to that has waited for too long."""
        now = time.monotonic()
        if not view.is_waiting_for_place:
            self._waiting_since = now
        if view.diagnosis is None or view.diagnosis.effect is not Effect.STUCK:
            self._stuck_since = now
        if self._pending_seconds is not None and now - self._waiting_since > self._pending_seconds:
            return _waited_too_long(view, self._pending_seconds)
        return _outcome(view) if now - self._stuck_since > STUCK_SECONDS else None


def open_kubernetes_executor(
    settings: RunnerSettings, plan: Plan, *, flow_run: str, fresh_since: float | None = None
) -> KubernetesExecutor:
    """Return an executor for the release that this process belongs to, once the plan is known to fit its cluster.

    Args:
        settings: Where results and cache are, as pods see them, and how many Jobs there may be at once.
        plan: What is compared.
        flow_run: Id of the Prefect flow run.
        fresh_since: Unix time before which results do not count; None reuses whatever is there.

    Raises:
        ConfigError: The plan cannot run on this cluster, or this process belongs to no release.
        ClusterError: The cluster does not answer, or has no such release.
    """
    release = load_release()
    cluster = Cluster.connect(release.settings.namespace)
    facts = read_facts(cluster, release.settings)
    check_cluster_plan(plan, release.settings, facts, log.warning)
    execution = Execution(
        results=settings.results,
        cache=settings.cache,
        device=settings.device,
        num_threads=release.settings.num_threads,
        metrics_host="0.0.0.0",  # noqa: S104 - Prometheus scrapes pods by their address
        metrics_port=release.settings.metrics_port,
        fresh_since=fresh_since,
    )
    executor = KubernetesExecutor(
        cluster,
        release,
        execution,
        comparison=plan.comparison,
        flow_run=flow_run,
        num_workers=settings.num_workers,
    )
    if settings.check_memory and settings.device != "cpu":
        executor.memory_limit_bytes = find_gpu_memory(release.settings, facts)
    return executor


def read_facts(cluster: Cluster, settings: KubernetesSettings) -> ClusterFacts:
    """Ask the cluster what a plan is checked against."""
    has_nodes = settings.check_nodes and settings.gpus_per_arm > 0
    return ClusterFacts(cluster.list_nodes() if has_nodes else (), cluster.list_resource_quotas())


def load_release() -> Release:
    """Read what this process was given of the release that it belongs to.

    Raises:
        ConfigError: None are given, or they cannot be read.
    """
    folder = os.environ.get(WORKER_TEMPLATES_ENV)
    if not folder:
        raise ConfigError(
            f"Jobs are made from the chart's templates, and {WORKER_TEMPLATES_ENV} names none.",
            remedy="Install the chart (helm install freeze-bench charts/) and submit the plan to it.",
        )
    return Release(read_settings(Path(folder)), load_templates(Path(folder)))


def delete_jobs(comparison: str) -> None:
    """Delete all Jobs of a comparison of the release that this process belongs to.

    Raises:
        ConfigError: This process belongs to none.
        ClusterError: The cluster does not let us, or does not answer.
    """
    settings = load_release().settings
    Cluster.connect(settings.namespace).delete_jobs(comparison_selector(settings, comparison))


def _outcome(view: WorkerView) -> WorkerOutcome:
    if view.stage is Stage.DONE or view.diagnosis is None:
        return WorkerOutcome(ExitCode.DONE, None)
    exit_code = view.exit_code or ExitCode.ERROR
    failure = Failure(exit_code=exit_code, problem=view.diagnosis.problem, remedy=view.diagnosis.remedy)
    return WorkerOutcome(exit_code, failure, is_exhausted=True)


def _gone(job: KubernetesObject, namespace: str) -> WorkerOutcome:
    problem = f"Its Job {job['metadata']['name']} in {namespace} was deleted while it was followed."
    remedy = "If that was not meant, submit the plan again: it goes on from the last checkpoint."
    failure = Failure(exit_code=ExitCode.ERROR, problem=problem, remedy=remedy)
    return WorkerOutcome(ExitCode.ERROR, failure, is_exhausted=True)


def _waited_too_long(view: WorkerView, limit_seconds: int) -> WorkerOutcome:
    failure = Failure(
        exit_code=ExitCode.ERROR,
        problem=f"It found no place in the cluster within {limit_seconds} s: {view.detail}.",
        remedy="Free what it waits for, or raise jobs.pendingLimitSeconds in the chart's values; then submit again.",
    )
    return WorkerOutcome(ExitCode.ERROR, failure, is_exhausted=True)
