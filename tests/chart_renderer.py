"""Renders the chart as ``helm install`` does, with Helm's own engine, and finds objects in what comes out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[1] / "charts"
VALUES_FILES = sorted(CHART.glob("ci/*-values.yaml"))

Object = dict[str, Any]


@dataclass(frozen=True)
class Release:
    """What an installation would create."""

    objects: tuple[Object, ...]
    notes: str

    def find(self, kind: str, name: str) -> Object:
        """Return the one object of a kind and a name."""
        (found,) = [each for each in self.find_all(kind) if each["metadata"]["name"] == name]
        return found

    def find_all(self, kind: str) -> list[Object]:
        """Return all objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def names(self, kind: str) -> set[str]:
        """Return the names of all objects of a kind."""
        return {each["metadata"]["name"] for each in self.find_all(kind)}

    def find_pod(self, component: str) -> Object:
        """Return the pod template of a component: prefect, runner, worker, prepare or test."""
        (found,) = [
            pod for pod in self.find_pods() if pod["metadata"]["labels"]["app.kubernetes.io/component"] == component
        ]
        return found

    def find_pods(self) -> Iterator[Object]:
        """Yield every pod template: of Deployments, of the test, and those that the runner makes Jobs of."""
        yield from (each["spec"]["template"] for each in self.find_all("Deployment"))
        yield from self.find_all("Pod")
        yield from (yaml.safe_load(text) for name, text in self.worker_files.items() if name.endswith("-pod.yaml"))

    @property
    def worker_files(self) -> Mapping[str, str]:
        """The ConfigMap that the runner reads, as files."""
        (found,) = [each for each in self.find_all("ConfigMap") if "settings.yaml" in each["data"]]
        files: Mapping[str, str] = found["data"]
        return files

    @property
    def settings(self) -> Object:
        """What the runner is told about Jobs."""
        document: Object = yaml.safe_load(self.worker_files["settings.yaml"])
        return document


def render(values: Mapping[str, Any] | None = None, *, name: str = "bench", namespace: str = "team") -> Release:
    """Render the chart.

    Raises:
        helm_python.HelmError: The values are refused.
    """
    with helm_python.Chart.load(CHART) as chart:
        given = dict(values or {})
        chart.validate_schema(given)
        files = chart.render(given, name=name, namespace=namespace)
    manifests = {path: text for path, text in files.items() if path.endswith(".yaml")}
    (notes,) = [text for path, text in files.items() if path.endswith("NOTES.txt")]
    documents = [each for path in sorted(manifests) for each in yaml.load_all(manifests[path], yaml.CSafeLoader)]
    return Release(tuple(each for each in documents if each is not None), notes)


def read_values(path: Path) -> dict[str, Any]:
    """Read a values file."""
    values: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return values


def main_container(pod: Object) -> Object:
    """Return the first container of a pod template."""
    container: Object = pod["spec"]["containers"][0]
    return container


def read_env(container: Object) -> dict[str, Any]:
    """Return the environment of a container: a value, or where it is from."""
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names)), f"set twice: {sorted(names)}"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def secret_key(name: str, key: str) -> Object:
    """Return the reference to a key of a Secret, as an environment variable has it."""
    return {"secretKeyRef": {"name": name, "key": key}}
