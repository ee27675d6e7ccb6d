"""The bare name of the deployment, as the real ``prefect`` command takes it."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from flows.prefect_plugin import with_full_name

ROOT = Path(__file__).parents[2]
SCRIPT = [str(Path(sys.executable).with_name("prefect"))]
MODULE = [sys.executable, "-m", "prefect"]
NOT_FOUND = "Deployment 'compare-backbones/compare-backbones' not found!"

Prefect = Callable[..., str]


@pytest.fixture
def prefect(prefect_server: str, cli_environment: dict[str, str]) -> Prefect:
    """Run Prefect's command on a server that has no deployment, and return what it says."""
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):  # an earlier test may have left it
        client.delete_deployment(client.read_deployment_by_name(NOT_FOUND.split("'")[1]).id)

    def run(command: list[str], cwd: Path, **environment: str) -> str:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=cli_environment | {"PREFECT_API_URL": prefect_server, "PREFECT_PLUGINS_STRICT": "1"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return " ".join((done.stdout + done.stderr).split())

    return run


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        ("deployment run NAME", "deployment run NAME/NAME"),
        ("deployments run NAME", "deployments run NAME/NAME"),
        ("--profile x deployment run NAME", "--profile x deployment run NAME/NAME"),
        ("deployment run --watch NAME", "deployment run --watch NAME/NAME"),
        ("deployment run --tag NAME NAME", "deployment run --tag NAME NAME/NAME"),
        ("deployment run --param=a=1 NAME --watch", "deployment run --param=a=1 NAME/NAME --watch"),
        ("deployment run --flow-run-name NAME NAME/NAME", "deployment run --flow-run-name NAME NAME/NAME"),
        ("deployment run NAMES", "deployment run NAMES"),
        ("deployment inspect NAME", "deployment inspect NAME"),
        ("flow-run cancel NAME", "flow-run cancel NAME"),
        ("config set A=NAME", "config set A=NAME"),
        ("deployment run", "deployment run"),
        ("", ""),
    ],
)
def test_only_the_name_of_the_deployment_that_is_to_run_is_completed(command: str, changed: str) -> None:
    words, expected = (text.replace("NAME", "compare-backbones").split() for text in (command, changed))

    assert with_full_name(words) == expected


@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["script", "module"])
def test_the_bare_name_reaches_the_server_from_the_repositorys_root(prefect: Prefect, command: list[str]) -> None:
    assert NOT_FOUND in prefect([*command, "deployment", "run", "compare-backbones"], ROOT)


def test_elsewhere_the_bare_name_takes_one_environment_variable(prefect: Prefect, tmp_path: Path) -> None:
    run = [*SCRIPT, "deployment", "run", "compare-backbones"]

    assert "Invalid deployment name format" in prefect(run, tmp_path)
    assert NOT_FOUND in prefect(run, tmp_path, PREFECT_PLUGINS_ENABLED="1")


def test_the_plugin_loads_nothing_else_of_this_project(cli_environment: Mapping[str, str]) -> None:
    script = "import json, sys, prefect; print(json.dumps([name for name in sys.modules if name.startswith('flows')]))"

    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**cli_environment, "PREFECT_PLUGINS_ENABLED": "1"},
        capture_output=True,
        check=True,
    )

    assert json.loads(done.stdout) == ["flows", "flows.prefect_plugin"]
