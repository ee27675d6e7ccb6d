"""A real cluster for tests: the one that KUBECONFIG names, or the machine's own.

Tests that only use a cluster ask for ``namespace``; those that break one ask for ``local_cluster``, too.
"""

import os
import tomllib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.binaries import ROOT, has_given_cluster
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import LocalCluster, running_cluster, started_cluster
from cluster.long_arms import LONG, NAME, ChangeRelease, Submit, write_plan
from cluster.release import Release, reached
from image_archives import build_archives


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[LocalCluster]:
    """The machine's own cluster: one that ``make cluster`` runs, or one for this session."""
    running = running_cluster()
    if has_given_cluster() and not (running and Path(os.environ["KUBECONFIG"]) == running.kubeconfig):
        pytest.skip("only the machine's own cluster is broken on purpose, and KUBECONFIG names another")
    if running:
        yield running
        return
    with started_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest) -> Kubectl:
    """The administrator of the cluster."""
    if has_given_cluster():
        return Kubectl(Path(os.environ["KUBECONFIG"]))
    cluster: LocalCluster = request.getfixturevalue("local_cluster")
    return cluster.kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[Kubectl]:
    """A namespace of the test's own, which admits only pods of the restricted standard."""
    with _made_namespace(kubectl) as namespace:
        yield namespace


@pytest.fixture(scope="module")
def module_namespace(kubectl: Kubectl) -> Iterator[Kubectl]:
    """Such a namespace for all tests of a module."""
    with _made_namespace(kubectl) as namespace:
        yield namespace


@pytest.fixture(scope="session")
def images(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The names of the images ``worker`` and ``flows``, built from this checkout for the CPU.

    The machine's own cluster gets them as archives.
    One that KUBECONFIG names must have them already, under these names, or below the registry that
    FREEZE_BENCH_TEST_REGISTRY names if ``make push`` has put them there.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    registry = os.environ.get("FREEZE_BENCH_TEST_REGISTRY", "docker.io/library").rstrip("/")
    running = running_cluster()
    if running and running.kubeconfig == kubectl.kubeconfig:
        folder = tmp_path_factory.mktemp("images")
        build_archives(ROOT, folder)
        for archive in sorted(folder.iterdir()):
            running.import_image(archive)
            archive.unlink()
    return {target: f"{registry}/freeze-bench-{target}:{version}" for target in ("worker", "flows")}


@pytest.fixture(scope="session")
def release_values(images: dict[str, str]) -> Document:
    """Values of a release in which each of the demo's tiny arms asks for a GPU, and computes on one CPU thread."""
    named = {}
    for target, image in images.items():
        repository, _, tag = image.rpartition(":")
        named[target] = {"repository": repository, "tag": tag}
    small = {"resources": {"requests": {"cpu": "100m"}}}
    return {
        "plan": "demo",
        "images": named,
        "worker": {"gpu": {"enabled": True}, "device": "cpu", "threads": 1, **small},
        "prepare": small,
    }


@pytest.fixture
def helm(namespace: Kubectl) -> Iterator[Helm]:
    """Helm in the test's namespace."""
    with _uninstalling(Helm(namespace)) as helm:
        yield helm


@pytest.fixture(scope="module")
def module_helm(module_namespace: Kubectl) -> Iterator[Helm]:
    """Helm in the module's namespace."""
    with _uninstalling(Helm(module_namespace)) as helm:
        yield helm


@pytest.fixture(scope="module")
def release(module_helm: Helm, release_values: Document, module_namespace: Kubectl) -> Iterator[Release]:
    """One release for all faults; what a test changes about it, it changes back."""
    module_helm.install(NAME, release_values)
    with reached(NAME, module_namespace) as release:
        yield release


@pytest.fixture
def changed_release(
    release: Release,  # noqa: ARG001 - it is there first
    module_helm: Helm,
    release_values: Document,
) -> Iterator[ChangeRelease]:
    """Install the release with other values, until the test has ended."""

    def change(**tables: Document) -> None:
        values = {**release_values, **{name: {**release_values.get(name, {}), **new} for name, new in tables.items()}}
        module_helm.install(NAME, values)

    yield change
    module_helm.install(NAME, release_values)


@pytest.fixture
def submit(release: Release, tmp_path: Path) -> Iterator[Submit]:
    """Start a comparison of live arms, and return the id of its flow run; what is still running goes after the test."""
    started: list[str] = []

    def start(
        name: str, *, steps: int = LONG, labels: Sequence[str] = ("Live qwen3",), seeds: Sequence[int] = (0,)
    ) -> str:
        plan = tmp_path / f"{name}.toml"
        plan.write_text(write_plan(name, *labels, steps=steps, seeds=seeds), encoding="utf-8")
        flow_run = release.submit(plan)
        started.append(flow_run)
        return flow_run

    yield start
    for flow_run in started:
        if release.read_state(flow_run)["type"] not in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}:
            release.cancel(flow_run)
            release.wait_for_end(flow_run, seconds=90)


@contextmanager
def _made_namespace(kubectl: Kubectl) -> Iterator[Kubectl]:
    if running := running_cluster():
        running.reclaim_volumes()  # of the tests before
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield kubectl.within(name)
    kubectl.delete("namespace", name, "--wait=false")


@contextmanager
def _uninstalling(helm: Helm) -> Iterator[Helm]:
    """Uninstall what a test has installed before its namespace goes."""
    yield helm
    for release in helm.releases():
        helm.uninstall(release)
