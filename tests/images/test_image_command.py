"""`python -m scripts.image`: what it asks of an engine, and what it builds anew."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dockerfile import ROOT
from scripts.image.builds import TARGETS, Recipe
from scripts.image.engines import Build, Engine

ENGINE = """#!{python}
import json, os, sys
with open(os.environ["ENGINE_CALLS"], "a") as file:
    print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]), file=file)
answers = json.loads(os.environ["ENGINE_ANSWERS"])
code, text = answers.get(sys.argv[1], [0, ""])
print(text)
sys.exit(code)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over a copy of everything that an image is made of."""
    repository = tmp_path / "repository"
    for name in ("Dockerfile", "requirements.lock", "pyproject.toml", "scripts", "worker"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            repository.mkdir(exist_ok=True)
            shutil.copy(source, repository / name)
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").write_bytes(b"wheel")
    return Recipe(repository=repository, base="base", base_id="sha256:1", torch="cpu", wheels=wheels)


class Command:
    """Runs the command with programs on PATH that write down what they are asked, in place of engines."""

    def __init__(self, folder: Path) -> None:
        self._programs = folder / "programs"
        self._programs.mkdir()
        self._calls = folder / "calls"
        self.answers: dict[str, tuple[int, str]] = {}

    def install(self, *names: str, script: str = ENGINE) -> None:
        for name in names:
            path = self._programs / name
            path.write_text(script.format(python=sys.executable))
            path.chmod(0o755)

    def break_down(self, name: str) -> None:
        (self._programs / name).write_text("#!/bin/sh\nexit 1\n")

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, "-m", "scripts.image", *words, PATH=str(self._programs), **variables)

    def call(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}",
            "ENGINE_CALLS": str(self._calls),
            "ENGINE_ANSWERS": json.dumps(self.answers),
            **variables,
        }
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []

    def calls_of(self, word: str) -> list[list[str]]:
        return [call for call in self.calls if call[1] == word]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def option(call: list[str], name: str) -> list[str]:
    """Return every value that a call gives to an option."""
    return [call[at + 1] for at, word in enumerate(call) if word == name]


def test_both_images_are_built_and_named(command: Command) -> None:
    command.install("docker")

    done = command.run()

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["freeze-bench-worker:0.1.0", "freeze-bench-flows:0.1.0"]
    assert [option(call, "--target") for call in command.calls_of("build")] == [["worker"], ["flows"]]


def test_an_engine_that_is_installed_and_does_not_answer_is_passed_over(command: Command) -> None:
    command.install("docker", "buildah")
    command.break_down("docker")

    command.run("worker")

    assert {call[0] for call in command.calls_of("build")} == {"buildah"}


def test_the_gpu_build_of_torch_is_the_default_and_takes_no_wheels_of_the_other(command: Command) -> None:
    command.install("docker")

    command.run("worker")

    [call] = command.calls_of("build")
    assert "TORCH=cuda" in option(call, "--build-arg")
    assert option(call, "--build-context") == []


def test_without_docker_packages_are_built_once_and_images_stand_on_them(command: Command) -> None:
    command.install("buildah")
    command.run("flows")

    packages, image = command.calls_of("build")

    [name] = option(packages, "--tag")
    assert name.startswith("freeze-bench-flows-packages:")
    assert f"FLOWS_PACKAGES=localhost/{name}" in option(image, "--build-arg")


def test_docker_is_asked_for_a_base_in_a_way_that_knows_its_full_name(command: Command) -> None:
    command.install("docker")
    command.answers["image"] = (0, "sha256:there")

    command.run("flows")

    assert ["docker", "image", "inspect", "--format", "{{.Id}}", "docker.io/library/python:3.11-slim"] in command.calls
    assert command.calls_of("pull") == []


def test_packages_that_are_there_are_used(command: Command) -> None:
    command.install("buildah")
    command.answers["images"] = (0, "sha256:there")

    command.run("flows")

    assert [option(call, "--target") for call in command.calls_of("build")] == [["flows"]]


def test_fresh_uses_nothing_that_is_there(command: Command) -> None:
    command.install("buildah")
    command.answers["images"] = (0, "sha256:there")

    command.run("flows", "--fresh")

    assert len(command.calls_of("build")) == 2
    assert all("--no-cache" in call for call in command.calls_of("build"))


def test_an_index_and_certificates_are_given_as_secrets_and_in_no_other_way(command: Command, tmp_path: Path) -> None:
    command.install("docker")
    certificates = tmp_path / "ca.pem"
    certificates.write_text("a certificate")

    command.run("worker", UV_DEFAULT_INDEX="https://canary@index.invalid/simple", SSL_CERT_FILE=str(certificates))

    [call] = command.calls_of("build")
    assert option(call, "--secret") == [f"id=ca,src={certificates}", "id=index,env=UV_DEFAULT_INDEX"]
    assert "canary" not in " ".join(call)


def test_a_base_that_is_named_is_not_looked_for(command: Command) -> None:
    command.install("docker")

    command.run("worker", "--base", "registry.example.com/python:3.11")

    [call] = command.calls_of("build")
    assert "BASE_IMAGE=registry.example.com/python:3.11" in option(call, "--build-arg")
    assert command.calls_of("pull") == []


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("docker", ["docker", "save", "--output", "{folder}/flows.tar", "freeze-bench-flows:0.1.0"]),
        (
            "buildah",
            [
                *("buildah", "push", "--quiet", "freeze-bench-flows:0.1.0"),
                "docker-archive:{folder}/flows.tar:docker.io/library/freeze-bench-flows:0.1.0",
            ],
        ),
    ],
)
def test_an_archive_holds_the_name_that_kubernetes_looks_for(
    command: Command, tmp_path: Path, engine: str, expected: list[str]
) -> None:
    command.install(engine)

    command.run("flows", "--archive", str(tmp_path / "out"))

    assert command.calls[-1] == [word.format(folder=tmp_path / "out") for word in expected]


def test_pushed_images_are_named_as_they_are_there(command: Command) -> None:
    command.install("docker")

    done = command.run("--push", "registry.example.com/team/")

    assert done.stdout.split() == [f"registry.example.com/team/freeze-bench-{target}:0.1.0" for target in TARGETS]
    assert [call[-1] for call in command.calls_of("push")] == done.stdout.split()


def test_a_build_that_fails_ends_the_command_and_says_which(command: Command) -> None:
    command.install("docker")
    command.answers["build"] = (7, "")

    done = command.run()

    assert done.returncode == 1
    assert "freeze-bench-worker:0.1.0 could not be built: docker build ended with 7." in done.stderr
    assert done.stdout == ""


def test_another_source_leaves_the_packages_as_they_are(recipe: Recipe) -> None:
    before = recipe.packages_key("worker")

    (recipe.repository / "worker" / "train.py").write_text("# another\n")
    add_to(recipe.repository / "pyproject.toml", "\n[tool.another]\nsetting = 1\n")

    assert recipe.packages_key("worker") == before


@pytest.mark.parametrize(
    "name", ["Dockerfile", "requirements.lock", "scripts/image/install-packages", "scripts/image/with-build-secrets"]
)
def test_another_file_that_decides_packages_is_another_set(recipe: Recipe, name: str) -> None:
    before = recipe.packages_key("worker")

    add_to(recipe.repository / name, "# another\n")

    assert recipe.packages_key("worker") != before


def test_another_dependency_is_another_set(recipe: Recipe) -> None:
    before = recipe.packages_key("flows")
    pyproject = recipe.repository / "pyproject.toml"

    pyproject.write_text(pyproject.read_text("utf-8").replace('"prefect==', '"prefect>='), "utf-8")

    assert recipe.packages_key("flows") != before


def test_torch_and_wheels_decide_the_worker_alone(recipe: Recipe) -> None:
    assert recipe.wheels is not None
    others = [replace(recipe, torch="cuda"), replace(recipe, wheels=None)]

    assert len({each.packages_key("worker") for each in [recipe, *others]}) == 3
    assert len({each.packages_key("flows") for each in [recipe, *others]}) == 1


def test_another_base_is_another_set(recipe: Recipe) -> None:
    other = replace(recipe, base_id="sha256:2")

    assert all(other.packages_key(target) != recipe.packages_key(target) for target in TARGETS)


@pytest.mark.parametrize(("registry", "is_plain"), [("localhost:5000/a", True), ("registry.example.com/a", False)])
def test_only_a_registry_on_this_machine_may_speak_plain_http(
    command: Command,
    registry: str,
    is_plain: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    command.install("buildah")

    command.run("flows", "--push", registry)

    assert ("--tls-verify=false" in command.calls[-1]) == is_plain


def test_a_build_is_isolated_without_another_program() -> None:
    words = Engine("buildah").build_words(Build(target="worker", name="name"))

    assert words[:3] == ["build", "--isolation", "chroot"]


def add_to(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + text, "utf-8")


def test_packages_are_installed_only_where_one_is_missing() -> None:
    there = subprocess.run(
        [ROOT / "scripts" / "install-debian-packages", "base-files"], capture_output=True, text=True, check=False
    )

    assert (there.returncode, there.stderr) == (0, "")
    assert os.access(ROOT / "scripts" / "install-debian-packages", os.X_OK)


APT_GET = """#!/bin/sh
# Would have to remove something, as apt-get does for runc where Docker's containerd.io is.
case "$*" in
*update*) ;;
*--no-remove*) echo "E: Packages need to be removed but remove is disabled." && exit 100 ;;
esac
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="installing packages needs root")
def test_no_package_is_removed_for_another(command: Command) -> None:
    command.install("dpkg-query")
    command.install("apt-get", script=APT_GET)

    refused = command.call(ROOT / "scripts" / "install-debian-packages", "runc")

    assert refused.returncode == 1
    assert "Not installed: runc." in refused.stderr
    assert "remove is disabled" in refused.stderr
    assert "Install them by hand" in refused.stderr
