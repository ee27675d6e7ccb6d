"""The schema of the values: closed, whole, and of use to whoever mistypes."""

import json
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest

from chart_renderer import CHART, read_values, render

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))

OPEN = {"strings", "kubernetesObject", "quantities", "global"}
"""What may have any key, each for the reason that its description gives; mounts are Kubernetes' objects too."""


def test_every_object_is_closed_but_those_that_cannot_be() -> None:
    is_open = {
        where for where, node in walk(SCHEMA, "") if node.get("type") == "object" and node.get("additionalProperties")
    }

    assert is_open == {f"/$defs/{name}" for name in OPEN} | {
        "/$defs/mounts/items",
    }
    assert [
        where for where, node in walk(SCHEMA, "") if "properties" in node and "additionalProperties" not in node
    ] == []


def test_what_is_open_says_why() -> None:
    assert [name for name in sorted(OPEN) if not SCHEMA["$defs"][name].get("description")] == []


def test_schema_and_values_name_the_same_keys() -> None:
    assert set(schema_keys(SCHEMA, ())) == set(value_keys(read_values(CHART / "values.yaml"), SCHEMA, ()))


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"imgaes": {}}, "imgaes"),
        ({"worker": {"gpus": 1}}, "gpus"),
        ({"worker": {"gpu": {"count": 0}}}, "count"),
        ({"worker": {"gpu": {"resource": "gpu"}}}, "resource"),
        ({"worker": {"gpu": {"memory": "80 GB"}}}, "memory"),
        ({"worker": {"gpu": {"checkMemory": None}}}, "checkMemory"),
        ({"worker": {"device": "tpu"}}, "device"),
        ({"worker": {"resources": {"request": {}}}}, "request"),
        ({"worker": {"extraEnv": [{"name": "A", "text": "b"}]}}, "text"),
        ({"worker": {"extraVolumeMounts": [{"name": "data", "mountPath": "data"}]}}, "mountPath"),
        ({"images": {"worker": {"digest": "sha256:abc"}}}, "digest"),
        ({"images": {"worker": {"pullPolicy": "Sometimes"}}}, "pullPolicy"),
        ({"imagePullSecrets": ["login"]}, "imagePullSecrets"),
        ({"prefect": {"apiUrl": "prefect.example.org"}}, "apiUrl"),
        ({"prefect": {"apiUrl": "https://prefect.example.org/api/"}}, "apiUrl"),
        ({"prefect": {"existingSecretKey": "password"}}, "existingSecretKey"),
        ({"results": {"url": "gs://bucket"}}, "url"),
        ({"results": {"persistence": {"size": "lots"}}}, "size"),
        ({"results": {"persistence": {"accessModes": ["ReadOnlyMany"]}}}, "accessModes"),
        ({"results": {"existingSecret": "Upper"}}, "existingSecret"),
        ({"jobs": {"keepSeconds": 1}}, "keepSeconds"),
        ({"jobs": {"maxRetries": -1}}, "maxRetries"),
        ({"commonLabels": {"app.kubernetes.io/instance": "mine"}}, "app.kubernetes.io/instance"),
        ({"networkPolicy": {"metricsFrom": {"team": 1}}}, "metricsFrom"),
        ({"metrics": {"serviceMonitor": {"enabled": True}}}, "serviceMonitor"),
        ({"metrics": {"podMonitor": {"interval": "10"}}}, "interval"),
        ({"metrics": {"podMonitor": {"sampleLimit": 0}}}, "sampleLimit"),
        ({"metrics": {"rules": {"runbookUrl": "docs/operations.md"}}}, "runbookUrl"),
        ({"metrics": {"dashboard": {"labels": {"grafana_dashboard": 1}}}}, "grafana_dashboard"),
        ({"metrics": {"dashboard": {"namespace": "Monitoring"}}}, "namespace"),
        ({"metrics": {"grafanaDashboard": {"folder": 7}}}, "folder"),
        ({"extraObjects": ["kind: ConfigMap"]}, "extraObjects"),
        ({"fullnameOverride": "Bench_1"}, "fullnameOverride"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"prepare": {"tolerations": {}}}, "tolerations"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(values: dict[str, Any], where: str) -> None:
    with pytest.raises(helm_python.HelmError, match=where):
        render(values)


def test_other_charts_globals_pass() -> None:
    assert render({"global": {"storageClass": "fast"}}).objects


def walk(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - any JSON value
    """Yield every object of a JSON document with its place."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            yield from walk(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, f"{where}/{index}")


def find_properties(node: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that an object may have; none where Kubernetes' own form begins."""
    name = node.get("$ref", "").rpartition("/")[2]
    if name == "resources":
        return {}
    properties: dict[str, Any] = SCHEMA["$defs"].get(name, node).get("properties", {})
    return properties


def schema_keys(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield each key that the schema names."""
    properties = find_properties(node)
    if not properties:
        yield path
    for key, below in properties.items():
        yield from schema_keys(below, (*path, key))


def value_keys(value: Any, node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - any YAML value
    """Yield each key of the values, down to where the schema names none."""
    properties = find_properties(node)
    if not properties:
        yield path
        return
    for key, below in value.items():
        yield from value_keys(below, properties.get(key, {}), (*path, key))
