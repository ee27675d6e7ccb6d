"""Rules that the Dockerfile keeps, whatever builds it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dockerfile import ROOT, Stage, read_instructions, read_stages
from flows.cluster_settings import KubernetesSettings
from scripts.image.builds import TARGETS

STAGES = read_stages()
RELEASED = [STAGES[target] for target in TARGETS]
SECRET = re.compile(r"token|secret|password|passwd|api_?key|credential", re.IGNORECASE)


def below(stage: Stage) -> list[Stage]:
    """Return a stage and everything of this file that it stands on."""
    default = re.fullmatch(r"\$\{(\w+)\}", stage.below)
    name = global_arguments()[default[1]] if default else stage.below
    return [stage, *(below(STAGES[name]) if name in STAGES else [])]


def global_arguments() -> dict[str, str]:
    """Return the arguments before the first stage."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    opening = text.partition("\nFROM ")[0]
    return dict(instruction.value.split("=", 1) for instruction in read_instructions(opening))


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.stdout, done.returncode) == ("", 0)


def test_the_base_image_is_python_3_11_and_can_be_another() -> None:
    assert global_arguments()["BASE_IMAGE"] == "python:3.11-slim"
    assert STAGES["base"].below == "${BASE_IMAGE}"


@pytest.mark.parametrize("stage", RELEASED, ids=TARGETS)
def test_an_image_runs_as_a_user_whom_kubernetes_can_tell_from_root(stage: Stage) -> None:
    assert stage.values("USER") == ["65532:65532"]


@pytest.mark.parametrize("stage", RELEASED, ids=TARGETS)
def test_nothing_is_run_in_what_is_released(stage: Stage) -> None:
    assert [part.name for part in below(stage) if part.values("RUN")] == []


@pytest.mark.parametrize("stage", RELEASED, ids=TARGETS)
def test_a_program_is_started_without_a_shell_and_stopped_by_sigterm(stage: Stage) -> None:
    [entrypoint] = stage.values("ENTRYPOINT")

    assert json.loads(entrypoint)
    assert stage.values("STOPSIGNAL") == ["SIGTERM"]


def test_the_worker_says_where_its_metrics_are() -> None:
    assert STAGES["worker"].values("EXPOSE") == [str(KubernetesSettings.model_fields["metrics_port"].default)]


def test_the_loader_looks_where_gke_mounts_the_driver() -> None:
    environment = " ".join(STAGES["worker"].values("ENV"))

    assert "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64" in environment
    assert [name for name, stage in STAGES.items() if "LD_LIBRARY_PATH" in str(stage.values("ENV"))] == ["worker"]


def test_files_are_copied_and_never_fetched() -> None:
    assert [name for name, stage in STAGES.items() if stage.values("ADD")] == []


def test_no_secret_is_an_argument_or_a_variable() -> None:
    given = [value for stage in STAGES.values() for word in ("ARG", "ENV") for value in stage.values(word)]

    assert [value for value in given if SECRET.search(value)] == []


def test_no_package_index_is_named() -> None:
    files = [ROOT / "Dockerfile", *sorted((ROOT / "scripts" / "image").iterdir())]

    assert [path.name for path in files if path.is_file() and "http" in path.read_text("utf-8")] == []


def test_every_package_that_is_installed_is_locked() -> None:
    installed = [run for stage in STAGES.values() for run in stage.values("RUN") if "install" in run]

    assert all(re.search(r"==\$\w+_VERSION|install-packages|--offline", run) for run in installed)
    assert "--constraint requirements.lock" in (ROOT / "scripts/image/install-packages").read_text("utf-8")


def test_uv_is_the_one_that_make_uses() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")

    [version] = re.findall(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert f"UV_VERSION={version}" in STAGES["builder"].values("ARG")


@pytest.mark.parametrize("target", TARGETS)
def test_every_extra_that_is_installed_exists(target: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]

    named = STAGES[f"{target}-install"].installed_extras
    assert target in named
    assert set(named) <= extras.keys() - {"dev"}


def test_what_enters_a_build_is_a_list() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]

    assert rules[0] == "*"
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert [path for path in allowed if not (ROOT / path).exists()] == []


def test_everything_that_is_copied_may_enter_the_build() -> None:
    rules = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [value.split()[:-1] for stage in STAGES.values() for value in stage.values("COPY")]

    sources = {source for words in copied if not words[0].startswith("--from") for source in words}
    assert sources == {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
