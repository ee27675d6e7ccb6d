"""Storage for claims: folders of the node, made beforehand, as nothing on a bare cluster makes any.

A claim of any size gets one, by the default storage class. Any number of pods of the one node may share it.
"""

import fcntl
import shutil
import uuid
from pathlib import Path

from cluster.enclosure import Enclosure
from cluster.kubectl import Document, Kubectl

STORAGE_CLASS = "local"
NUM_VOLUMES = 40

CAPACITY = "1Ti"
"""More than any claim asks for. Nobody measures."""

FOLDER = Path("/var/lib/freeze-bench/volumes")
"""Where they lie, as the node sees it."""


def make_volumes(enclosure: Enclosure, kubectl: Kubectl) -> None:
    """Make the storage class and the volumes."""
    names = [f"local-{number:02}" for number in range(NUM_VOLUMES)]
    for name in names:
        _outside(enclosure, name).mkdir(parents=True)
        _open_to_all(_outside(enclosure, name))
    kubectl.apply(_storage_class(), *(_volume(name) for name in names))


def make_small_volume(enclosure: Enclosure, kubectl: Kubectl, name: str, num_bytes: int) -> str:
    """Make a volume that is soon full; return the storage class of its own, which a claim for it must name."""
    name = f"{name}-{uuid.uuid4().hex[:8]}"  # a volume is claimed once, and the cluster may outlive a test session
    folder = FOLDER / name
    enclosure.run("mkdir", "-p", str(folder))
    enclosure.run("mount", "-t", "tmpfs", "-o", f"size={num_bytes},mode=777", "tmpfs", str(folder))
    volume = _volume(name)
    volume["spec"]["storageClassName"] = name
    kubectl.apply(volume)
    return name


def reclaim_volumes(enclosure: Enclosure, kubectl: Kubectl) -> None:
    """Empty the volumes whose claims are gone, and give them back."""
    with (enclosure.folder / "reclaim.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another may do the same, and must not empty what has a new owner
        for volume in kubectl.list("persistentvolumes"):
            if volume["status"]["phase"] == "Released" and volume["spec"]["storageClassName"] == STORAGE_CLASS:
                _reclaim(enclosure, kubectl, volume["metadata"]["name"])


def _reclaim(enclosure: Enclosure, kubectl: Kubectl, name: str) -> None:
    folder = _outside(enclosure, name)
    shutil.rmtree(folder)
    folder.mkdir()
    _open_to_all(folder)
    kubectl.run("patch", "persistentvolume", name, "--type=json", '--patch=[{"op":"remove","path":"/spec/claimRef"}]')


def _outside(enclosure: Enclosure, name: str) -> Path:
    """Return the folder as the machine sees it."""
    return enclosure.folder / "lib" / (FOLDER / name).relative_to("/var/lib")


def _open_to_all(folder: Path) -> None:
    """Let any user write: Kubernetes gives other kinds of volume to a pod's group, but never a folder of the node."""
    folder.chmod(0o777)


def _storage_class() -> Document:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
    }


def _volume(name: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "capacity": {"storage": CAPACITY},
            "hostPath": {"path": str(FOLDER / name), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
        },
    }
