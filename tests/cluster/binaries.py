"""The programs that the test cluster is made of: built once from pinned sources, kept in the user's cache folder.

Kubernetes, CoreDNS, pause and Prometheus are built from the Go modules beside this file, whose ``go.sum`` pins every
line of them.
Tools that stand alone are installed at a version, which Go checks against its public checksum database.
What has no Go source, such as containerd, is a Debian package.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from cluster.go import BuildError, find_go_version, run_go

ROOT = Path(__file__).parents[2]
TOOLS, PROMETHEUS = (Path(__file__).parent / name for name in ("tools", "prometheus"))

BUILT = {
    "node": (TOOLS, "./node"),
    "coredns": (TOOLS, "./dns"),
    "pause": (TOOLS, "./pause"),
    "prometheus": (PROMETHEUS, "github.com/prometheus/prometheus/cmd/prometheus"),
}
"""Programs of the modules: name, module and main package."""

TAGS = {"prometheus": "remove_all_sd,enable_kubernetes_sd"}
"""Of all that Prometheus can find, pods are enough here."""

BUILD_TIMES = {
    "node": ", in five minutes on two idle cores",
    "helm": ", in two minutes",
    "prometheus": ", in three minutes",
}

INSTALLED = {"helm": "helm.sh/helm/v4/cmd/helm@v4.3.1"}
"""Tools, and the package and version that each is."""

CLUSTER_PROGRAMS = ("node", "coredns", "pause", "helm")
"""What a cluster is made of and used with, the largest first."""

CLIENTS = ("kubectl", "helm")
"""What a cluster of somebody else's is used with."""

COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
"""The names that ``node`` answers to."""

PACKAGES = {
    "busybox-static": (),
    "conntrack": ("conntrack",),
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "containernetworking-plugins": (),
    "etcd-server": ("etcd",),
    "iproute2": ("ip",),
    "iptables": ("iptables", "iptables-restore", "iptables-save"),
    "mount": ("mount",),
    "procps": ("kill", "sysctl"),
    "runc": ("runc",),
    "util-linux": ("nsenter", "setsid", "unshare"),
}
"""Debian packages, and what they are wanted for. Where that is on PATH, whoever brought it there, none is installed.

Of two of them files are used that are on nobody's PATH.
"""


def find_program(name: str) -> Path:
    """Return the path of a program or component, building it first if that was never done for this version of it.

    Who names a cluster by KUBECONFIG usually has its clients, too, and those are taken.
    """
    if name in CLIENTS and has_given_cluster() and (given := shutil.which(name)):
        return Path(given)
    if name in COMPONENTS:
        return find_program("node").with_name(name)
    path = _cache_folder() / f"{name}-{_version(name)}" / name
    if not path.exists():
        with _locked(path.parent):
            if not path.exists():
                _build(name, path.parent)
    return path


def has_given_cluster() -> bool:
    """Whether KUBECONFIG names a cluster that tests should use."""
    return bool(os.environ.get("KUBECONFIG"))


def prepare_programs() -> None:
    """Build and install whatever the machine's own cluster needs and is not there yet.

    Raises:
        BuildError: Something could not be had.
    """
    for name in CLUSTER_PROGRAMS:
        find_program(name)
    packages = find_missing_packages()
    done = subprocess.run([str(ROOT / "scripts" / "install-debian-packages"), *packages], check=False)
    if done.returncode:
        raise BuildError(
            f"installing {', '.join(packages)} failed with exit code {done.returncode}; "
            "install them by hand, or set KUBECONFIG to a cluster that exists"
        )


def find_missing_packages() -> list[str]:
    """Return the packages of which something is not on PATH; Docker, for one, brings its own containerd and runc."""
    return [name for name, programs in PACKAGES.items() if not (programs and all(map(shutil.which, programs)))]


def check_compiler() -> None:
    """Check, before hours of tests or minutes of compiling, that what is built here can be built.

    Raises:
        BuildError: It cannot.
    """
    if not (has_given_cluster() and all(map(shutil.which, CLIENTS))):
        find_go_version()


def _cache_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "freeze-bench" / "cluster-tools"


@cache
def _version(name: str) -> str:
    """Return a word that changes with whatever the program is made from: version, sources, compiler."""
    digest = hashlib.sha256(find_go_version().encode())
    if name in INSTALLED:
        digest.update(INSTALLED[name].encode())
        return f"{INSTALLED[name].rpartition('@')[2]}-{digest.hexdigest()[:8]}"
    module, package = BUILT[name]
    for path in (module / "go.mod", module / "go.sum", *sorted((module / package).glob("*.go"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _build(name: str, folder: Path) -> None:
    print(f"Building {name}, once{BUILD_TIMES.get(name, '')} ...", file=sys.stderr, flush=True)  # noqa: T201 - it takes long
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
    try:
        if name in INSTALLED:
            run_go("install", "-trimpath", "-ldflags=-s -w", INSTALLED[name], GOBIN=str(made))
        else:
            module, package = BUILT[name]
            flags = [f"-ldflags=-s -w {_version_flags()}", f"-tags={TAGS.get(name, '')}"]
            run_go("build", "-C", str(module), "-trimpath", *flags, f"-o={made / name}", package)
        if name == "node":
            for component in COMPONENTS:
                (made / component).symlink_to(name)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _version_flags() -> str:
    """Tell the components their version: they print it, and compare it with each other's."""
    version = re.search(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\d+)", (TOOLS / "go.mod").read_text("utf-8"))
    assert version, "go.mod requires no k8s.io/kubernetes"
    values = {"gitVersion": version[1], "gitMajor": version[2], "gitMinor": version[3]}
    return " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process build at a time; the others wait, and find what it has built."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
