"""A real Prometheus in the cluster: it finds pods through the API server, with the scrape config of the guide."""

import copy
import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.binaries import find_program
from cluster.busybox_pods import build_pod
from cluster.enclosure import wait_until
from cluster.forwarding import forwarded
from cluster.images import write_image
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import LocalCluster
from prometheus_api import PrometheusApi, PrometheusError

PROMETHEUS_IMAGE = "freeze-bench.test/prometheus:1"
"""The program alone, as it is built here: Debian's has no Kubernetes in it."""

PORT = 9090
NAME = "prometheus"


def write_prometheus_image(path: Path) -> Path:
    """Write an archive with the image."""
    files = {"bin/prometheus": find_program("prometheus").read_bytes()}
    return write_image(path, PROMETHEUS_IMAGE, files, entrypoint=["/bin/prometheus"])


def within_namespace(config: Mapping[str, Any], namespace: str, interval: str) -> Document:
    """Return a scrape config that scrapes at another interval, and looks into one namespace alone.

    Args:
        config: As in the guide: with ``scrape_configs`` that find pods.
        namespace: Where the release is.
        interval: As Prometheus writes durations.
    """
    changed: Document = copy.deepcopy(dict(config))
    for job in changed["scrape_configs"]:
        job["scrape_interval"] = interval
        job.pop("scrape_timeout", None)  # never longer than the interval, which is what Prometheus takes by itself
        for discovery in job["kubernetes_sd_configs"]:
            discovery["namespaces"] = {"names": [namespace]}
    return changed


@contextmanager
def running_prometheus(cluster: LocalCluster, watched: Kubectl, config: Mapping[str, Any]) -> Iterator[PrometheusApi]:
    """Run Prometheus in a namespace of its own for as long as the block lasts.

    Args:
        cluster: Gets the image.
        watched: The namespace whose pods it may see.
        config: The whole of its configuration.
    """
    with tempfile.TemporaryDirectory() as folder:
        cluster.import_image(write_prometheus_image(Path(folder) / "prometheus.tar"))
    name = f"monitoring-{uuid.uuid4().hex[:8]}"
    kubectl = watched.within(name)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    watched.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        watched.apply(*_build_rights(name))
        kubectl.apply(*_build_prometheus(config))
        with forwarded(_when_running(kubectl), f"pod/{NAME}", PORT) as port:
            api = PrometheusApi(f"http://127.0.0.1:{port}")
            wait_until(lambda: _answers(api), "Prometheus to answer")
            yield api
    finally:
        watched.run("delete", "role,rolebinding", f"{NAME}-{name}", "--ignore-not-found")
        watched.delete("namespace", name, "--wait=false")


def _when_running(kubectl: Kubectl) -> Kubectl:
    kubectl.wait_for("pod", NAME, lambda pod: bool(pod["status"].get("phase") == "Running"), seconds=120)
    return kubectl


def _answers(api: PrometheusApi) -> bool:
    try:
        return bool(api.query("vector(1)")["result"])
    except PrometheusError:
        return False


def _build_rights(monitoring: str) -> list[Document]:
    """Return what lets the account of Prometheus find the pods of a namespace, and nothing else."""
    name = f"{NAME}-{monitoring}"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": monitoring}
    version = "rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    return [
        {"apiVersion": version, "kind": "Role", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": role,
            "subjects": [account],
        },
    ]


def _build_prometheus(config: Mapping[str, Any]) -> list[Document]:
    container = {
        "image": PROMETHEUS_IMAGE,
        "args": ["--config.file=/etc/prometheus/prometheus.json", "--storage.tsdb.path=/prometheus"],
        "ports": [{"name": "http", "containerPort": PORT}],
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/prometheus"},
            {"name": "data", "mountPath": "/prometheus"},
        ],
    }
    volumes = [{"name": "config", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}]
    pod = build_pod(NAME, "", container=container, serviceAccountName=NAME, volumes=volumes)
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME},
            "data": {"prometheus.json": json.dumps(config)},  # JSON is YAML, which is what Prometheus reads
        },
        pod,
    ]
