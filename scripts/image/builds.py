"""Which builds make the two images, and when what an earlier build left still fits."""

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.image.engines import Build, Engine
from scripts.image.tools import say

TARGETS = ("worker", "flows")
_INGREDIENTS = ("Dockerfile", "requirements.lock", "scripts/image/install-packages", "scripts/image/with-build-secrets")
_CERTIFICATES = "SSL_CERT_FILE"
_INDEX = "UV_DEFAULT_INDEX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what is in the images, apart from the source."""

    repository: Path
    base: str
    base_id: str
    torch: str
    wheels: Path | None
    is_fresh: bool = False

    @property
    def wheels_digest(self) -> str:
        """Of the names and sizes of the wheels: they carry their versions, and reading gigabytes takes seconds."""
        files = sorted(self.wheels.glob("*.whl")) if self.wheels else []
        return _digest([(file.name, file.stat().st_size) for file in files])

    def packages_key(self, target: str) -> str:
        """Return a name for the packages of an image: the same as long as they would be the same.

        Of ``pyproject.toml`` only what is installed counts: a change to a linter's settings is none.
        """
        project = read_project(self.repository)
        wanted = [project["dependencies"], project["optional-dependencies"]]
        contents = [(self.repository / name).read_text("utf-8") for name in _INGREDIENTS]
        special = [self.torch, self.wheels_digest] if target == "worker" else []
        return _digest([target, self.base_id, wanted, contents, special])


def read_project(repository: Path) -> Mapping[str, object]:
    """Return the ``[project]`` table."""
    project: Mapping[str, object] = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def image_name(target: str, version: str) -> str:
    """Return the name under which the chart looks for an image."""
    return f"freeze-bench-{target}:{version}"


def build_image(engine: Engine, recipe: Recipe, target: str, labels: Mapping[str, str]) -> str:
    """Build one image and return its name.

    Args:
        engine: What builds it.
        recipe: What goes into it.
        target: ``worker`` or ``flows``.
        labels: ``VERSION`` and ``REVISION``.
    """
    packages = {} if engine.keeps_stages else {f"{target.upper()}_PACKAGES": keep_packages(engine, recipe, target)}
    name = image_name(target, labels["VERSION"])
    say(f"Building {name} ...")
    arguments = {**_arguments(recipe, target), **packages, **labels}
    engine.build(_build(recipe, target, name, arguments), recipe.repository)
    return name


def keep_packages(engine: Engine, recipe: Recipe, target: str) -> str:
    """Return an image that holds the packages alone, and build it if there is none yet.

    Buildah and Podman find a stage again only by reading all its files, which takes longer than the rest of a build.
    """
    name = f"freeze-bench-{target}-packages:{recipe.packages_key(target)}"
    if recipe.is_fresh or engine.find(name) is None:
        flavour = f" with torch for {recipe.torch}" if target == "worker" else ""
        say(f"Installing the packages of {target}{flavour}, once ...")
        build = _build(recipe, f"{target}-packages", name, _arguments(recipe, target))
        engine.build(build, recipe.repository)
    return f"localhost/{name}"


def _build(recipe: Recipe, target: str, name: str, arguments: Mapping[str, str]) -> Build:
    return Build(
        target=target,
        name=name,
        arguments=arguments,
        folders={"wheels": recipe.wheels} if recipe.wheels else {},
        secrets=_secrets(),
        is_fresh=recipe.is_fresh,
    )


def _arguments(recipe: Recipe, target: str) -> dict[str, str]:
    special = {"TORCH": recipe.torch, "WHEELS_DIGEST": recipe.wheels_digest} if target == "worker" else {}
    return {"BASE_IMAGE": recipe.base, **special}


def _secrets() -> list[str]:
    """Return what the build needs to reach a package index from this machine, and must not keep."""
    certificates = os.environ.get(_CERTIFICATES, "")
    found = [f"id=ca,src={certificates}"] if Path(certificates).is_file() else []
    return [*found, *([f"id=index,env={_INDEX}"] if os.environ.get(_INDEX) else [])]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
