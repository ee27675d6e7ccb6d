"""The Kubernetes API. Nothing else in freeze-bench talks to it.

Objects are plain dicts in the API's own spelling, in and out: what the API server sends is what the pure modules read,
and fields that this client's version does not know are not lost on the way.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Self, cast

import urllib3
from kubernetes import client, config
from kubernetes.config import ConfigException

from flows.cluster_settings import KubernetesObject
from worker.contract.errors import FreezeBenchError

PATIENCE_SECONDS = 600.0
"""How long an API server that does not answer is asked again: longer than the upgrade of a control plane takes."""

log = logging.getLogger("freeze_bench.cluster")
"""Tells of an API server that does not answer. Whoever runs decides where that is shown."""

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_PAGE_SIZE = 500

_JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
_PODS = "/api/v1/namespaces/{namespace}/pods"
_CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps"
_EVENTS = "/api/v1/namespaces/{namespace}/events"
_QUOTAS = "/api/v1/namespaces/{namespace}/resourcequotas"
_NODES = "/api/v1/nodes"

_REMEDIES: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Check the service account's token, or the credentials in KUBECONFIG.",
    HTTPStatus.FORBIDDEN: "Give the runner's service account the Role of the chart (rbac.create=true), or raise the "
    "namespace's quota if the message names one.",
    HTTPStatus.NOT_FOUND: "Check the namespace, and that the release is still installed.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The chart's values make a Job that this cluster refuses: change what is named.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The plan is too large for one Job: shorten its class names.",
}


class ClusterError(FreezeBenchError):
    """Kubernetes refuses what was asked, or does not answer.

    Args:
        problem: What was tried, on what, and what came back.
        remedy: What the reader can do next.
        status: HTTP status of the answer; None if there was none.
    """

    def __init__(self, problem: str, *, remedy: str, status: int | None = None) -> None:
        """Keep the status, which says whether waiting can help."""
        super().__init__(problem, remedy=remedy)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same request may do better later."""
        return (
            self.status is None
            or self.status == HTTPStatus.TOO_MANY_REQUESTS
            or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )

    @property
    def is_quota(self) -> bool:
        """Whether a quota of the namespace is used up: it may be free again when others have ended."""
        return self.status == HTTPStatus.FORBIDDEN and "exceeded quota" in self.problem


class Listing(list[KubernetesObject]):
    """Objects of one list, and the version of the cluster that they were read at."""

    version: str = ""


class Cluster:
    """One namespace of a cluster.

    A request is repeated while the API server is away, for ``PATIENCE_SECONDS``.

    Args:
        api: A client with address and credentials.
        namespace: Where Jobs and pods are.
        patience_seconds: How long an API server that is away is waited for.
    """

    def __init__(self, api: client.ApiClient, namespace: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Ask nothing yet."""
        self.namespace = namespace
        self._api = api
        self._patience_seconds = patience_seconds
        self._is_given_up = threading.Event()

    @classmethod
    def connect(cls, namespace: str, patience_seconds: float = PATIENCE_SECONDS) -> Self:
        """Use the service account of this pod, or outside a cluster the context that ``kubectl`` uses.

        Raises:
            ClusterError: There are no credentials.
        """
        settings = client.Configuration()
        settings.retries = False  # repeated here, where the time that it may take is known
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=settings)
            else:
                config.load_kube_config(client_configuration=settings)
        except ConfigException as error:
            raise ClusterError(
                f"There are no credentials for a Kubernetes cluster: {error}.",
                remedy="Run inside a release of the chart, or set KUBECONFIG.",
            ) from error
        return cls(client.ApiClient(settings), namespace, patience_seconds)

    def give_up(self) -> None:
        """Ask once and no more from now on; whoever waits for the API server stops waiting."""
        self._is_given_up.set()

    def create_job(self, manifest: KubernetesObject) -> KubernetesObject | None:
        """Create a Job.

        Returns:
            The Job; None if there is one of this name already.

        Raises:
            ClusterError: It is refused.
        """
        name = manifest["metadata"]["name"]
        try:
            return self._ask("POST", _JOBS, f"create the Job {name}", body=manifest)
        except ClusterError as error:
            if error.status == HTTPStatus.CONFLICT:
                return None
            raise

    def read_job(self, name: str) -> KubernetesObject | None:
        """Return a Job, or None if there is none of this name."""
        return self._find(f"{_JOBS}/{name}", f"read the Job {name}")

    def delete_job(self, job: KubernetesObject) -> None:
        """Delete a Job with its pods; it is there until they are gone. One that is gone already is no error.

        Only this very Job: another that has its name by now stays.
        """
        name = job["metadata"]["name"]
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": job["metadata"]["uid"]}}
        try:
            self._ask("DELETE", f"{_JOBS}/{name}", f"delete the Job {name}", body=options)
        except ClusterError as error:
            if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                raise

    def delete_jobs(self, selector: str) -> None:
        """Delete all Jobs that a label selector finds, with their pods. Does not wait until they are gone.

        Through the API a Job's pods outlive it unless one says otherwise.
        """
        options = {"propagationPolicy": "Foreground"}
        self._ask("DELETE", _JOBS, f"delete the Jobs {selector}", {"labelSelector": selector}, options)

    def list_jobs(self, selector: str) -> Listing:
        """Return all Jobs that a label selector finds."""
        return self._list(_JOBS, "Jobs", {"labelSelector": selector})

    def list_pods(self, selector: str) -> Listing:
        """Return all pods that a label selector finds."""
        return self._list(_PODS, "pods", {"labelSelector": selector})

    def list_warnings(self) -> Listing:
        """Return the events of the namespace that warn: what a pod's status does not tell."""
        return self._list(_EVENTS, "events", {"fieldSelector": "type=Warning"})

    def list_nodes(self) -> Listing:
        """Return all nodes of the cluster."""
        return self._list(_NODES, "nodes")

    def list_resource_quotas(self) -> Listing:
        """Return the quotas of the namespace."""
        return self._list(_QUOTAS, "resource quotas")

    def read_config_map(self, name: str) -> KubernetesObject:
        """Return a ConfigMap.

        Raises:
            ClusterError: It is not there, or may not be read.
        """
        return self._ask("GET", f"{_CONFIG_MAPS}/{name}", f"read the ConfigMap {name}")

    def wait_for_change(self, selector: str, version: str, seconds: float) -> None:
        """Wait until a Job that a label selector finds changes, but no longer than so many seconds.

        Comes back early where watching fails: whoever calls lists again at its own pace.

        Args:
            selector: Which Jobs.
            version: Of the ``Listing`` after which changes count.
            seconds: The longest wait, whole seconds.
        """
        query = {
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, round(seconds))),
            "watch": "true",
        }
        try:
            response = self._send("GET", _JOBS, query, None, seconds + _CONNECT_SECONDS)
            try:
                next(response.response.stream(1024), None)
            finally:
                response.response.close()
        except (client.ApiException, urllib3.exceptions.HTTPError, OSError):
            return  # the next list tells what is wrong

    def _find(self, path: str, what: str) -> KubernetesObject | None:
        try:
            return self._ask("GET", path, what)
        except ClusterError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _list(self, path: str, what: str, selection: Mapping[str, str] | None = None) -> Listing:
        query = {"limit": str(_PAGE_SIZE), **(selection or {})}
        found = Listing()
        while True:
            try:
                page = self._ask("GET", path, f"list {what}", query)
            except ClusterError as error:
                if error.status != HTTPStatus.GONE or "continue" not in query:
                    raise
                return self._list(path, what, selection)  # an outage between two pages: they no longer belong together
            found.extend(page["items"])
            found.version = page["metadata"]["resourceVersion"]
            if not page["metadata"].get("continue"):
                return found
            query["continue"] = page["metadata"]["continue"]

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None = None,
        body: KubernetesObject | None = None,
    ) -> KubernetesObject:
        """Send one request, again and again while the API server is away.

        Raises:
            ClusterError: It is refused, or the API server stayed away.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        give_up_at = time.monotonic() + self._patience_seconds
        while True:
            try:
                return self._ask_once(method, path, what, query or {}, body)
            except ClusterError as error:
                left = give_up_at - time.monotonic()
                if not error.may_pass or left <= 0 or self._is_given_up.wait(min(pause_seconds, left)):
                    raise
                if pause_seconds == _FIRST_PAUSE_SECONDS:
                    log.warning("%s Asking again for up to %g s.", error.problem, self._patience_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _ask_once(
        self, method: str, path: str, what: str, query: Mapping[str, str], body: KubernetesObject | None
    ) -> KubernetesObject:
        try:
            response = self._send(method, path, query, body, _ANSWER_SECONDS)
            content = response.read()
        except client.ApiException as error:  # the client's own word for all that goes wrong with TLS
            raise _explain_tls(what, error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _explain_silence(what, error) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise ClusterError(
                f"Kubernetes does not let freeze-bench {what}: {_words(content) or response.reason}.",
                remedy=_REMEDIES.get(response.status, "Look at the API server's message."),
                status=response.status,
            )
        try:
            return cast("KubernetesObject", json.loads(content))
        except ValueError as error:
            raise ClusterError(
                f"What answers when freeze-bench wants to {what} is no Kubernetes API server: {content[:80]!r}.",
                remedy="Check KUBECONFIG, and proxies on the way.",
            ) from error

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: KubernetesObject | None, seconds: float
    ) -> client.rest.RESTResponse:
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        request = self._api.param_serialize(
            method,
            path,
            path_params={"namespace": self.namespace},
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        return self._api.call_api(*request, _request_timeout=(_CONNECT_SECONDS, seconds))


def _explain_tls(what: str, error: client.ApiException) -> ClusterError:
    """Tell a certificate that is not to be trusted from a connection that broke."""
    if "CERTIFICATE_VERIFY_FAILED" not in str(error.reason):
        return _explain_silence(what, error.reason)
    return ClusterError(
        f"freeze-bench does not trust the API server, and so cannot {what}: {error.reason}.",
        remedy="Check the cluster's certificate authority in KUBECONFIG.",
        status=HTTPStatus.UNAUTHORIZED,
    )


def _explain_silence(what: str, reason: object) -> ClusterError:
    return ClusterError(
        f"The Kubernetes API server does not answer, so freeze-bench cannot {what}: {reason}.",
        remedy="What runs goes on without it. Check that it is up (`kubectl get --raw /readyz`).",
    )


def _words(content: bytes) -> str:
    """Return the message of an API server's answer."""
    try:
        status = json.loads(content)
    except ValueError:
        return content.decode(errors="replace").strip()
    return str(status.get("message", "")).rstrip(".") if isinstance(status, dict) else ""
