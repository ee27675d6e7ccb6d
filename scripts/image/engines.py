"""The programs that build images, behind one form: Docker, Podman and Buildah.

Nothing outside this module knows how they differ. Buildah and Podman build in a chroot: it needs no other program and
no cgroups, and what is run in these builds is only what the Dockerfile says.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.image.errors import ImageError

PROGRAMS = ("docker", "podman", "buildah")
"""In this order the first that answers is taken."""

_ANSWER_SECONDS = 20
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One stage of the Dockerfile, and what it is given."""

    target: str
    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Build contexts beside the repository."""
    secrets: Sequence[str] = ()
    """In the form that all three programs read: ``id=ca,src=/path`` or ``id=index,env=NAME``."""
    is_fresh: bool = False
    """Whether every step is done again, whatever an earlier build left."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that builds images, and its ways."""

    program: str

    @property
    def keeps_stages(self) -> bool:
        """Whether an earlier build's stages are found again without reading their files."""
        return self.program == "docker"

    def build(self, build: Build, repository: Path) -> None:
        """Build a stage and give it a name."""
        self._run(*self.build_words(build), str(repository), problem=f"{build.name} could not be built")

    def build_words(self, build: Build) -> list[str]:
        """Return the command that builds a stage, without the folder."""
        isolated = [] if self.program == "docker" else ["--isolation", "chroot", "--layers"]
        return [
            *("build", *isolated, "--target", build.target, "--tag", build.name),
            *(["--no-cache"] if build.is_fresh else []),
            *(word for key, value in build.arguments.items() for word in ("--build-arg", f"{key}={value}")),
            *(word for key, path in build.folders.items() for word in ("--build-context", f"{key}={path}")),
            *(word for secret in build.secrets for word in ("--secret", secret)),
        ]

    def find(self, name: str) -> str | None:
        """Return the id of an image that is here already."""
        # `docker images` knows no name with its registry, such as docker.io/library/python.
        is_docker = self.program == "docker"
        words = ("image", "inspect", "--format", "{{.Id}}") if is_docker else ("images", "--quiet", "--no-trunc")
        done = self._ask(*words, name)
        return next(iter(done.stdout.split()), None) if done.returncode == 0 else None

    def pull(self, name: str) -> bool:
        """Fetch an image from its registry, and say whether that worked."""
        return subprocess.run([self.program, "pull", "--quiet", name], capture_output=True, check=False).returncode == 0

    def load_root(self, archive: Path, name: str) -> None:
        """Make an image of one layer from a tar archive of a root file system."""
        problem = f"{archive} could not be made into the image {name}"
        if self.program != "buildah":
            self._run("import", str(archive), name, problem=problem)
            return
        container = self._ask("from", "scratch").stdout.strip()
        try:
            self._run("add", "--quiet", container, str(archive), "/", problem=problem)
            self._run("commit", "--quiet", container, name, problem=problem)
        finally:
            self._ask("rm", container)

    def save(self, name: str, archive: Path) -> None:
        """Write an image as an archive that Docker and containerd load, under the name that Kubernetes looks for."""
        problem = f"{name} could not be written to {archive}"
        archive.unlink(missing_ok=True)  # Buildah and Podman refuse to add to an archive
        if self.program == "docker":
            self._run("save", "--output", str(archive), name, problem=problem)
        else:
            self._run("push", "--quiet", name, f"docker-archive:{archive}:docker.io/library/{name}", problem=problem)

    def push(self, name: str, registry: str) -> str:
        """Send an image to a registry, and return its name there."""
        there = f"{registry.rstrip('/')}/{name}"
        problem = f"{name} could not be pushed to {there}"
        if self.program == "docker":
            self._run("tag", name, there, problem=problem)
            self._run("push", "--quiet", there, problem=problem)
        else:
            # As Docker does by itself: a registry on this machine may speak plain HTTP.
            plain = ["--tls-verify=false"] if registry.startswith(_LOOPBACK) else []
            self._run("push", "--quiet", *plain, name, f"docker://{there}", problem=problem)
        return there

    def _run(self, *words: str, problem: str) -> None:
        """Run a command of the engine, with its output on standard error."""
        code = subprocess.run([self.program, *words], stdout=2, check=False).returncode
        if code:
            command = f"{self.program} {words[0]}"
            raise ImageError(f"{problem}: {command} ended with {code}.", remedy="Its own words are above.")

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.program, *words], capture_output=True, text=True, check=False)


def find_engine() -> Engine | None:
    """Return the first engine that is installed and answers."""
    return next((Engine(program) for program in PROGRAMS if shutil.which(program) and _answers(program)), None)


def _answers(program: str) -> bool:
    """Whether a program can build here: Docker's command is often there without its service."""
    try:
        done = subprocess.run([program, "info"], capture_output=True, check=False, timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
