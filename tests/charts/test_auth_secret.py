"""The auth string of a release: made by the chart, or by whoever installs it."""

import base64
import re

import helm_python
import pytest

from chart_renderer import Release, main_container, read_env, render, secret_key


def test_without_one_the_chart_makes_a_user_and_a_long_password() -> None:
    release = render()
    auth_string = base64.b64decode(release.find("Secret", "bench-freeze-bench-auth")["data"]["auth-string"]).decode()

    assert re.fullmatch(r"admin:[A-Za-z0-9]{32}", auth_string)
    assert reads_auth(release) == {"bench-freeze-bench-auth"}


def test_every_release_gets_another_password() -> None:
    one, other = (render().find("Secret", "bench-freeze-bench-auth")["data"] for _ in range(2))

    assert one != other


def test_an_existing_secret_is_used_and_none_is_made() -> None:
    release = render({"auth": {"existingSecret": "our-login"}})

    assert release.find_all("Secret") == []
    assert reads_auth(release) == {"our-login"}


def test_a_password_in_the_values_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="password"):
        render({"auth": {"password": "1234"}})


def test_no_worker_sees_the_auth_string() -> None:
    release = render()

    for component in ("worker", "prepare"):
        assert "bench-freeze-bench-auth" not in str(release.find_pod(component))


def reads_auth(release: Release) -> set[str]:
    """Return the Secrets that server, runner and test take the auth string from."""
    names = {
        "prefect": "PREFECT_SERVER_API_AUTH_STRING",
        "runner": "FREEZE_BENCH_AUTH",
        "test": "FREEZE_BENCH_AUTH",
    }
    sources = [read_env(main_container(release.find_pod(component)))[name] for component, name in names.items()]
    found = {each["secretKeyRef"]["name"] for each in sources}
    assert sources == [secret_key(name, "auth-string") for name in found] * len(sources)
    return found
