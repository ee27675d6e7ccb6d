"""How each program of the node is started: its arguments and its files, for one single node.

Values that are not a program's own default say why they are what they are.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.binaries import find_program
from cluster.certificates import Authority, write_key_pair
from cluster.configurations import (
    build_containerd_configuration,
    build_dns_configuration,
    build_kubelet_configuration,
    build_proxy_configuration,
)
from cluster.network import NODE, SERVICES, write_pod_network

NODE_NAME = "freeze-bench-node"
SERVER = f"https://{NODE}:6443"
ETCD = "http://127.0.0.1:2379"
DOMAIN = "cluster.local"

ADMINISTRATORS = "system:masters"
LOST_NODE_SECONDS = 20
"""After so long without a sign of life a node counts as lost. Kubernetes waits 50 s, and tests would wait with it."""

EVICTION_SECONDS = 20
"""How long pods stay on a node that is lost; by default five minutes."""


@dataclass(frozen=True)
class NodeFiles:
    """Where the files of the node's programs lie."""

    folder: Path
    certificates: Path
    admin: Path

    @classmethod
    def write(cls, folder: Path) -> "NodeFiles":
        """Write certificates, kubeconfigs and configurations of a new node."""
        certificates = folder / "certificates"
        authority = Authority(certificates)
        hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
        authority.issue("apiserver", hosts=[*hosts, "127.0.0.1", NODE, str(SERVICES[1])])
        authority.issue("apiserver-client", group=ADMINISTRATORS)
        write_key_pair(certificates, "service-accounts")
        files = cls(folder, certificates, folder / "admin.kubeconfig")
        authority.write_kubeconfig(files.admin, SERVER, "admin", ADMINISTRATORS)
        authority.write_kubeconfig(folder / "kubelet.kubeconfig", SERVER, f"system:node:{NODE_NAME}", "system:nodes")
        for component in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            authority.write_kubeconfig(folder / f"{component}.kubeconfig", SERVER, f"system:{component}")
        write_pod_network(folder / "cni")
        _write_json(folder / "kubelet.json", build_kubelet_configuration(authority.path, DOMAIN))
        _write_json(folder / "kube-proxy.json", build_proxy_configuration(folder / "kube-proxy.kubeconfig", NODE_NAME))
        (folder / "containerd.toml").write_text(build_containerd_configuration(folder / "cni"), "utf-8")
        (folder / "Corefile").write_text(build_dns_configuration(files.admin, DOMAIN), "utf-8")
        return files


def containerd(files: NodeFiles) -> list[str]:
    """Return the command of the container runtime."""
    return ["containerd", f"--config={files.folder}/containerd.toml"]


def etcd(_files: NodeFiles) -> list[str]:
    """Return the command of the store behind the API server."""
    return [
        "etcd",
        "--data-dir=/var/lib/etcd",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--unsafe-no-fsync",  # a test cluster need not survive a power cut
    ]


def kube_apiserver(files: NodeFiles) -> list[str]:
    """Return the command of the API server."""
    keys = files.certificates
    return [
        str(find_program("kube-apiserver")),
        f"--advertise-address={NODE}",
        "--authorization-mode=Node,RBAC",
        f"--client-ca-file={keys}/ca.crt",
        f"--default-not-ready-toleration-seconds={EVICTION_SECONDS}",
        f"--default-unreachable-toleration-seconds={EVICTION_SECONDS}",
        "--enable-admission-plugins=NodeRestriction",
        f"--etcd-servers={ETCD}",
        f"--kubelet-client-certificate={keys}/apiserver-client.crt",
        f"--kubelet-client-key={keys}/apiserver-client.key",
        "--kubelet-preferred-address-types=InternalIP",  # no DNS knows the node's name, and logs would not be found
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        f"--service-account-key-file={keys}/service-accounts.pub",
        f"--service-account-signing-key-file={keys}/service-accounts.key",
        f"--service-cluster-ip-range={SERVICES}",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
    ]


def kube_controller_manager(files: NodeFiles) -> list[str]:
    """Return the command of the controllers, that of Jobs among them."""
    return [
        str(find_program("kube-controller-manager")),
        *_as_client(files, "kube-controller-manager"),
        f"--node-monitor-grace-period={LOST_NODE_SECONDS}s",
        f"--root-ca-file={files.certificates}/ca.crt",
        f"--service-account-private-key-file={files.certificates}/service-accounts.key",
        "--use-service-account-credentials",
    ]


def kube_scheduler(files: NodeFiles) -> list[str]:
    """Return the command of the scheduler."""
    return [str(find_program("kube-scheduler")), *_as_client(files, "kube-scheduler")]


def kube_proxy(files: NodeFiles) -> list[str]:
    """Return the command of what makes service addresses work."""
    return [str(find_program("kube-proxy")), f"--config={files.folder}/kube-proxy.json"]


def kubelet(files: NodeFiles) -> list[str]:
    """Return the command of what runs pods."""
    return [
        str(find_program("kubelet")),
        f"--config={files.folder}/kubelet.json",
        f"--kubeconfig={files.folder}/kubelet.kubeconfig",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE}",
    ]


def coredns(files: NodeFiles) -> list[str]:
    """Return the command of the name server. It is no pod: it needs no image, and answers while pods do not."""
    return [str(find_program("coredns")), f"-conf={files.folder}/Corefile"]


COMPONENTS: dict[str, Callable[[NodeFiles], list[str]]] = {
    "containerd": containerd,
    "etcd": etcd,
    "kube-apiserver": kube_apiserver,
    "kube-controller-manager": kube_controller_manager,
    "kube-scheduler": kube_scheduler,
    "kubelet": kubelet,
    "kube-proxy": kube_proxy,
    "coredns": coredns,
}
"""In the order in which they are started; each waits for those that it needs."""


def _as_client(files: NodeFiles, component: str) -> list[str]:
    """Return what controllers and scheduler share; there is one of each, and none has to be elected."""
    rate = ["--kube-api-qps=500", "--kube-api-burst=1000"]  # at the default of 20 a hundred Jobs take their time
    return [f"--kubeconfig={files.folder}/{component}.kubeconfig", "--leader-elect=false", *rate]


def _write_json(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2), "utf-8")
