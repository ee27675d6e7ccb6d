"""What is taken away from the machine's own cluster is away, what it had started lives on, and all of it comes back."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.busybox_pods import build_pod
from cluster.components import NODE_NAME
from cluster.enclosure import Enclosure, EnclosureError, wait_until
from cluster.kubectl import Document, Kubectl, condition, is_true
from cluster.local_cluster import GPU, NUM_GPUS, LocalCluster

pytestmark = pytest.mark.system

TICK = "while :; do echo tick; sleep 0.2; done"

START_AND_WAIT = """
import sys
from pathlib import Path
from cluster.enclosure import Enclosure

enclosure = Enclosure(Path(sys.argv[1]))
enclosure.start()
enclosure.launch("sleep", "sleep", "600")
print(enclosure.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def ticking(namespace: Kubectl) -> Kubectl:
    """The test's namespace, with a pod in it that prints a line five times a second."""
    namespace.apply(build_pod("ticking", TICK))
    namespace.wait_for("pod", "ticking", lambda pod: bool(pod["status"]["phase"] == "Running"))
    return namespace


def num_ticks(namespace: Kubectl) -> int:
    return len(namespace.logs("ticking").splitlines())


def num_restarts(pod: Document) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


@pytest.mark.full
def test_a_node_without_kubelet_is_lost_and_has_its_gpus_when_it_is_back(
    local_cluster: LocalCluster, ticking: Kubectl
) -> None:
    def is_lost(node: Document) -> bool:
        ready = condition(node, "Ready")
        return ready is not None and ready["status"] == "Unknown"

    with local_cluster.without_component("kubelet"):
        ticking.wait_for("node", NODE_NAME, is_lost)

    ticking.wait_for("node", NODE_NAME, lambda node: is_true(node, "Ready"))
    ticking.wait_for("node", NODE_NAME, lambda node: node["status"]["allocatable"][GPU] == str(NUM_GPUS))


@pytest.mark.parametrize("component", ["containerd", "kube-apiserver", "etcd"])
def test_pods_live_on_while_a_component_is_away(component: str, local_cluster: LocalCluster, ticking: Kubectl) -> None:
    before = num_ticks(ticking)

    with local_cluster.without_component(component):
        assert not local_cluster.is_alive(component)

    wait_until(lambda: num_ticks(ticking) > before + 5, "the pod to go on")
    assert num_restarts(ticking.wait_for("pod", "ticking", lambda _: True)) == 0


def test_nothing_outlives_whoever_started_it(tmp_path: Path) -> None:
    folder = tmp_path / "enclosure"
    starter = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        text=True,
    )
    with starter:
        assert starter.stdout
        first = Path("/proc", starter.stdout.readline().strip())
        assert first.exists()
        with pytest.raises(EnclosureError, match="runs already"):
            Enclosure(folder).start()
        starter.send_signal(signal.SIGKILL)

    wait_until(lambda: not first.exists() and not Enclosure(folder).is_running, "the first process to end")
    again = Enclosure(folder)
    again.start()
    assert "sleep" not in again.run("ps", "-e").stdout
    again.stop()
    assert [path.name for path in tmp_path.iterdir()] == ["enclosure.lock"]
    assert not list(Path("/sys/fs/cgroup").glob("*/enclosure"))
