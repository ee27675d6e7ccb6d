"""The lookout: one list of Jobs and one of pods for all that wait for one of them.

Watches break in ways that look like silence, so none is relied on: the lists are made again every ten seconds at the
latest, and a watch only wakes the lookout up earlier.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from flows.cluster import PATIENCE_SECONDS, Cluster, ClusterError
from flows.cluster_settings import KubernetesObject
from flows.executors import ExecutorClosedError
from flows.job_status import Stage, WorkerView, view_worker
from flows.pod_status import newest_pod

LOOK_SECONDS = 10.0
"""Between two looks, at the latest."""

MIN_PAUSE_SECONDS = 1.0
"""Between two looks, at the earliest."""

EVENT_SECONDS = 20.0
"""How long a pod may take to be made ready before events are asked why: they are many, and mostly of others."""

log = logging.getLogger("freeze_bench.kubernetes")
"""Tells what could not be seen. Whoever runs decides where that is shown."""

_PAUSE_PER_LOOK = 10
"""A look that takes long is made less often: lists cost the API server less than a tenth of its time."""


class Lookout:
    """Looks at the Jobs of one comparison while somebody follows one of them.

    Args:
        cluster: Where they are.
        selector: Label selector of the comparison's Jobs and pods.
    """

    def __init__(self, cluster: Cluster, selector: str) -> None:
        """Look at nothing yet."""
        self._cluster = cluster
        self._selector = selector
        self._changed = threading.Condition()
        self._views: Mapping[str, WorkerView] = {}
        self._slow_since: Mapping[str, float] = {}
        self._num_begun = 0
        self._num_done = 0
        self._error: Exception | None = None
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, job: KubernetesObject) -> Iterator[WorkerView | None]:
        """Yield what is seen of a Job, now and after every look that shows it.

        Yields:
            The view; None once the Job is gone, which ends the iteration.

        Raises:
            ClusterError: The API server refuses, or stayed away for longer than it is waited for.
            ExecutorClosedError: ``close`` was called.
        """
        uid = job["metadata"]["uid"]
        with self._changed:
            last_without = self._num_begun  # a look that had begun before may not show the Job yet
            if self._thread is None:
                self._error = None
                self._thread = threading.Thread(target=self._look_on, name="lookout", daemon=True)
                self._thread.start()
        num_seen = 0
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda seen=num_seen: self._is_closed.is_set() or self._error or self._num_done > seen  # type: ignore[misc]
                )
                num_seen, view = self._num_done, self._views.get(uid)
                if self._is_closed.is_set():
                    raise ExecutorClosedError
                if self._error:
                    raise _again(self._error) from self._error
            if view is None and num_seen <= last_without:
                continue
            yield view
            if view is None:
                return

    def close(self) -> None:
        """Look no more; whoever follows stops. Idempotent."""
        self._is_closed.set()
        with self._changed:
            self._changed.notify_all()

    def _look_on(self) -> None:
        """Look again and again, until there is nobody left to tell or nothing more to be seen."""
        try:
            seen_at: float | None = None
            while not self._is_closed.is_set():
                begun_at = time.monotonic()
                try:
                    version = self._look()
                except ClusterError as error:
                    # An API server that has just started may refuse what it has allowed before.
                    if seen_at is None or begun_at - seen_at > PATIENCE_SECONDS:
                        raise
                    log.warning("%s", error)
                    self._is_closed.wait(LOOK_SECONDS)
                else:
                    seen_at = begun_at
                    self._wait(begun_at, version)
        except Exception as error:  # noqa: BLE001 - everybody who follows hears of it
            with self._changed:
                self._error, self._thread = error, None
                self._changed.notify_all()

    def _wait(self, begun_at: float, version: str) -> None:
        """Wait for a change, but no longer than until the next look is due."""
        seconds = time.monotonic() - begun_at
        self._is_closed.wait(min(max(_PAUSE_PER_LOOK * seconds, MIN_PAUSE_SECONDS), LOOK_SECONDS))
        left = begun_at + LOOK_SECONDS - time.monotonic()
        if left > 0 and not self._is_closed.is_set():
            self._cluster.wait_for_change(self._selector, version, left)

    def _look(self) -> str:
        with self._changed:
            self._num_begun += 1
        jobs = self._cluster.list_jobs(self._selector)
        pods_by_job: dict[str, list[KubernetesObject]] = {}
        for pod in self._cluster.list_pods(self._selector):
            for owner in pod["metadata"].get("ownerReferences") or []:
                pods_by_job.setdefault(owner["uid"], []).append(pod)
        pairs = {job["metadata"]["uid"]: (job, pods_by_job.get(job["metadata"]["uid"], [])) for job in jobs}
        views = {uid: view_worker(job, pods) for uid, (job, pods) in pairs.items()}
        slow = self._find_slow(views)
        if slow:
            events = self._list_warnings()
            views |= {uid: view_worker(*pairs[uid], _events_of(*pairs[uid], events)) for uid in slow}
        with self._changed:
            self._views = views
            self._num_done = self._num_begun
            self._changed.notify_all()
        return jobs.version

    def _list_warnings(self) -> Sequence[KubernetesObject]:
        """Return what warns; nothing where that may not be read: it explains, and decides nothing."""
        try:
            return self._cluster.list_warnings()
        except ClusterError as error:
            log.warning("%s", error)
            return ()

    def _find_slow(self, views: Mapping[str, WorkerView]) -> list[str]:
        """Return which workers have been starting for so long that their status will not say why."""
        now = time.monotonic()
        self._slow_since = {
            uid: self._slow_since.get(uid, now) for uid, view in views.items() if view.stage is Stage.STARTING
        }
        return [uid for uid, since in self._slow_since.items() if now - since >= EVENT_SECONDS]


def _again(error: Exception) -> Exception:
    """Return an error for one of several threads that hear of it."""
    if isinstance(error, ClusterError):
        return ClusterError(error.problem, remedy=error.remedy, status=error.status)
    return RuntimeError(f"The lookout for Jobs failed: {type(error).__name__}: {error}")


def _events_of(
    job: KubernetesObject, pods: Sequence[KubernetesObject], events: Sequence[KubernetesObject]
) -> list[KubernetesObject]:
    """Return the events of a Job's newest pod, or of the Job if it has none."""
    uid = (newest_pod(pods) or job)["metadata"]["uid"]
    return [event for event in events if event["involvedObject"].get("uid") == uid]
