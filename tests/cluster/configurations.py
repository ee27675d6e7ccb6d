"""What the node's programs read: their configuration files, where arguments will not do."""

from pathlib import Path

from cluster.enclosure import FOLDER
from cluster.images import PAUSE_IMAGE
from cluster.network import CNI_BINARIES, NODE, PODS


def build_kubelet_configuration(authority: Path, domain: str) -> dict[str, object]:
    """Return what the kubelet is told, for clients that an authority vouches for."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",  # no systemd to ask
        "cgroupRoot": f"/{FOLDER.name}",
        "clusterDNS": [NODE],
        "clusterDomain": domain,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,  # images come from archives: what is collected does not come back
        "nodeStatusUpdateFrequency": "5s",
        "resolvConf": "",  # the machine's own name server is none of the pods' business
        "volumePluginDir": "/var/lib/kubelet/plugins",
    }


def build_proxy_configuration(kubeconfig: Path, node_name: str) -> dict[str, object]:
    """Return what makes kube-proxy write its rules with iptables."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": str(PODS),
        # Limits of the kernel that only the machine itself can set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": node_name,
        "mode": "iptables",
    }


def build_containerd_configuration(pod_networks: Path) -> str:
    """Return what containerd is told; all else is its default, at paths that are the enclosure's own."""
    return f"""version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
disable_apparmor = true
restrict_oom_score_adj = true  # below what this process has, where that is not allowed

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_BINARIES}"
conf_dir = "{pod_networks}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def build_dns_configuration(kubeconfig: Path, domain: str) -> str:
    """Return what makes CoreDNS answer for services, and for nothing else."""
    return f""".:53 {{
    bind {NODE}
    errors
    ready {NODE}:8181
    kubernetes {domain} in-addr.arpa {{
        kubeconfig {kubeconfig}
    }}
}}
"""
