"""A real Kubernetes of one node on this machine, and what can go wrong with it.

Everything runs in an enclosure (``cluster.enclosure``), from programs that ``cluster.binaries`` keeps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cluster import binaries, components, network, volumes
from cluster.components import NODE_NAME, NodeFiles
from cluster.enclosure import Enclosure, EnclosureError, wait_until
from cluster.images import write_busybox_image, write_pause_image
from cluster.kubectl import Kubectl, condition

GPU = "nvidia.com/gpu"
NUM_GPUS = 2
START_SECONDS = 120
"""For a machine that is busy with other things; alone it takes ten."""

LAST_LINES = 20


class LocalCluster:
    """The machine's own cluster. ``start_cluster`` makes it, ``running_cluster`` finds the one that runs."""

    def __init__(self, enclosure: Enclosure) -> None:
        """Start nothing."""
        self._enclosure = enclosure
        folder = enclosure.folder
        self._files = NodeFiles(folder, folder / "certificates", folder / "admin.kubeconfig")
        self.kubectl = Kubectl(self._files.admin)

    @property
    def kubeconfig(self) -> Path:
        """What clients need to reach it as its administrator."""
        return self._files.admin

    def start(self) -> None:
        """Start every component, and wait until pods can run.

        Raises:
            EnclosureError: One did not come up; the message holds the last lines of its log.
        """
        NodeFiles.write(self._enclosure.folder)
        network.connect(self._enclosure)
        for name in components.COMPONENTS:
            self.start_component(name)
        for write in (write_pause_image, write_busybox_image):
            archive = write(self._enclosure.folder / "image.tar")
            self.import_image(archive)
            archive.unlink()
        volumes.make_volumes(self._enclosure, self.kubectl)
        self._wait(lambda: self.kubectl.get("serviceaccount", "default") is not None, "kube-controller-manager")
        self.advertise_gpus(NUM_GPUS)

    def start_component(self, name: str) -> None:
        """Start a component, and wait until it does its work. A kubelet forgets its GPUs; they are advertised again."""
        num_gpus = self._num_gpus() if name == "kubelet" else None
        started = datetime.now(UTC).replace(microsecond=0)
        self._enclosure.launch(name, *components.COMPONENTS[name](self._files))
        checks = {
            "containerd": lambda: self._enclosure.run("ctr", "version", check=False).returncode == 0,
            "kube-apiserver": lambda: self.kubectl.run("get", "--raw=/readyz", check=False).returncode == 0,
            "kubelet": lambda: self._is_node_ready(started),
        }
        if name in checks:
            self._wait(checks[name], name)
        if num_gpus is not None:
            self.advertise_gpus(num_gpus)

    def stop_component(self, name: str) -> None:
        """Kill a component. What it has started lives on: pods run without kubelet and without containerd."""
        self._enclosure.kill(name)

    def is_alive(self, name: str) -> bool:
        """Whether a component runs."""
        return self._enclosure.is_alive(name)

    @contextmanager
    def without_component(self, name: str) -> Iterator[None]:
        """Kill a component, and start it again after the block."""
        self.stop_component(name)
        try:
            yield
        finally:
            self.start_component(name)

    def advertise_gpus(self, count: int) -> None:
        """Have the node offer so many GPUs. Its pods are given none, and compute without."""
        patch = f'{{"status":{{"capacity":{{"{GPU}":"{count}"}}}}}}'
        self.kubectl.run("patch", "node", NODE_NAME, "--subresource=status", "--type=merge", f"--patch={patch}")
        self._wait(lambda: self._num_gpus() == count, "kubelet")

    def import_image(self, archive: Path) -> None:
        """Put the image of an archive, Docker's or OCI's, where containers are started from."""
        self._enclosure.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))

    def make_small_volume(self, name: str, num_bytes: int) -> str:
        """Make a volume that is soon full; return the storage class that a claim for it must name."""
        return volumes.make_small_volume(self._enclosure, self.kubectl, name, num_bytes)

    def reclaim_volumes(self) -> None:
        """Give back the volumes whose claims are gone."""
        volumes.reclaim_volumes(self._enclosure, self.kubectl)

    def log(self, name: str) -> str:
        """Return what a component has written."""
        return (self._enclosure.folder / "log" / f"{name}.log").read_text("utf-8", errors="replace")

    def _wait(self, is_so: Callable[[], bool], component: str) -> None:
        """Wait for what a component should bring about; if it does not, say what it has said last."""

        def is_so_or_never() -> bool:
            return is_so() or not self._enclosure.is_alive(component)

        try:
            wait_until(is_so_or_never, f"{component} to do its work", seconds=START_SECONDS)
        except EnclosureError as error:
            raise EnclosureError(f"{error}\n{self._last_lines(component)}") from error
        if not self._enclosure.is_alive(component):
            raise EnclosureError(f"{component} ended by itself\n{self._last_lines(component)}")

    def _last_lines(self, component: str) -> str:
        return "\n".join(self.log(component).splitlines()[-LAST_LINES:])

    def _is_node_ready(self, since: datetime) -> bool:
        """Whether the node has said so itself since then: what it said before it was stopped still stands there."""
        node = self.kubectl.get("node", NODE_NAME)
        ready = condition(node, "Ready") if node else None
        return ready is not None and ready["status"] == "True" and _time(ready["lastHeartbeatTime"]) >= since

    def _num_gpus(self) -> int | None:
        """Return how many GPUs pods can have, or nothing before the node is known."""
        node = self.kubectl.get("node", NODE_NAME)
        return None if node is None else int(node["status"].get("allocatable", {}).get(GPU, 0))


@contextmanager
def started_cluster() -> Iterator[LocalCluster]:
    """Start the machine's own cluster, and end it after the block. It ends, too, with the process that started it.

    Raises:
        EnclosureError: It cannot be had here, or runs already.
        BuildError: Its programs cannot be had here.
    """
    binaries.prepare_programs()
    enclosure = Enclosure()
    enclosure.start()
    try:
        cluster = LocalCluster(enclosure)
        cluster.start()
        yield cluster
    finally:
        enclosure.stop()


def running_cluster() -> LocalCluster | None:
    """Return the cluster that another process has started on this machine, if there is one."""
    enclosure = Enclosure()
    return LocalCluster(enclosure) if enclosure.is_running else None


def _time(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)
