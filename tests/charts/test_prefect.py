"""The Prefect server of a release: its own with SQLite or PostgreSQL, or one that exists."""

from typing import Any

import helm_python
import pytest

from chart_renderer import main_container, read_env, render, secret_key

SERVER = "https://prefect.example.org/api"


def test_by_default_the_release_has_a_server_with_its_database_on_a_claim() -> None:
    release = render()
    pod = release.find_pod("prefect")

    assert main_container(pod)["command"][:3] == ["prefect", "server", "start"]
    assert read_env(main_container(pod))["PREFECT_HOME"] == "/data"
    assert claims(pod) == {"data": "bench-freeze-bench-prefect"}
    assert {"name": "data", "mountPath": "/data"} in main_container(pod)["volumeMounts"]
    assert "bench-freeze-bench-prefect" in release.names("PersistentVolumeClaim")


def test_only_one_server_writes_the_database_at_a_time() -> None:
    spec = render().find("Deployment", "bench-freeze-bench-prefect")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_server_writes_its_pages_where_it_may() -> None:
    environment = read_env(main_container(render().find_pod("prefect")))

    assert environment["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/tmp/")  # noqa: S108 - in a pod
    assert environment["PREFECT_SERVER_UI_API_URL"] == "/api"


def test_the_runner_finds_the_server_of_its_release() -> None:
    release = render(name="one")
    environment = read_env(main_container(release.find_pod("runner")))

    assert environment["PREFECT_API_URL"] == "http://one-freeze-bench-prefect:4200/api"
    assert environment["PREFECT_API_AUTH_STRING"] == secret_key("one-freeze-bench-auth", "auth-string")
    (port,) = release.find("Service", "one-freeze-bench-prefect")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (4200, "api")


def test_the_runner_starts_when_the_server_answers() -> None:
    (waiting,) = render().find_pod("runner")["spec"]["initContainers"]

    assert waiting["command"] == ["python", "-m", "flows.release_check", "prefect"]
    assert read_env(waiting)["PREFECT_API_URL"] == "http://bench-freeze-bench-prefect:4200/api"


def test_with_postgresql_the_server_has_no_claim() -> None:
    release = render({"prefect": {"database": {"existingSecret": "database"}}})
    pod = release.find_pod("prefect")

    assert read_env(main_container(pod))["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == secret_key(
        "database", "connection-url"
    )
    assert claims(pod) == {}
    assert "bench-freeze-bench-prefect" not in release.names("PersistentVolumeClaim")


def test_a_server_that_exists_is_used_and_none_is_made() -> None:
    release = render({"prefect": {"apiUrl": SERVER, "existingSecret": "login"}})
    environment = read_env(main_container(release.find_pod("runner")))

    assert release.names("Deployment") == {"bench-freeze-bench-runner"}
    assert release.names("Service") == {"bench-freeze-bench-results"}
    assert environment["PREFECT_API_URL"] == SERVER
    assert environment["PREFECT_API_AUTH_STRING"] == secret_key("login", "auth-string")


def test_prefect_cloud_is_entered_with_a_key() -> None:
    release = render({"prefect": {"apiUrl": SERVER, "existingSecret": "cloud", "existingSecretKey": "api-key"}})
    environment = read_env(main_container(release.find_pod("runner")))

    assert environment["PREFECT_API_KEY"] == secret_key("cloud", "api-key")
    assert "PREFECT_API_AUTH_STRING" not in environment


def test_an_open_server_is_entered_without_credentials() -> None:
    environment = read_env(main_container(render({"prefect": {"apiUrl": SERVER}}).find_pod("runner")))

    assert {"PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"}.isdisjoint(environment)


@pytest.mark.parametrize(
    ("prefect", "message"),
    [
        ({"apiUrl": SERVER, "database": {"existingSecret": "database"}}, "Set one of them"),
        ({"existingSecret": "login"}, "Set prefect.apiUrl too"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_remedy(prefect: dict[str, Any], message: str) -> None:
    with pytest.raises(helm_python.HelmError, match=message):
        render({"prefect": prefect})


def claims(pod: dict[str, Any]) -> dict[str, str]:
    """Return the claims that a pod mounts, by volume."""
    return {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
