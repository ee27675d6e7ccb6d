"""Builds the images: ``python -m scripts.image``, from the repository's root.

Takes the first engine that answers of Docker, Podman and Buildah; on Debian, Buildah is installed where there is none.
Where Docker Hub cannot be reached, the images stand on a Debian that is put together here, and the command says so.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.image.base import find_base
from scripts.image.builds import TARGETS, Recipe, build_image, read_project
from scripts.image.engines import PROGRAMS, Engine, find_engine
from scripts.image.errors import ImageError
from scripts.image.tools import install_packages, say

_REPOSITORY = Path(__file__).parents[2]
_WHEELS = _REPOSITORY.parent / "shared" / "wheels"
_EPILOG = """
--archive writes worker.tar and flows.tar, which hold docker.io/library/freeze-bench-worker:VERSION and
docker.io/library/freeze-bench-flows:VERSION (the version is pyproject.toml's). Load them with one of
  ctr --namespace k8s.io images import worker.tar
  docker load --input worker.tar

A package index or certificates of this machine's own (UV_DEFAULT_INDEX, SSL_CERT_FILE) are used, and not kept.

examples:
  python -m scripts.image --torch cpu
  python -m scripts.image flows --archive out/images
  python -m scripts.image --push registry.example.com/team
"""


def main() -> int:
    """Build what was asked for; its names go to standard output, one per line."""
    asked = _read_arguments()
    try:
        engine = Engine(asked.engine) if asked.engine else _find_engine()
        for target in asked.targets or TARGETS:
            name = build_image(engine, _build_recipe(engine, asked), target, _read_labels())
            if asked.archive:
                archive = asked.archive / f"{target}.tar"
                say(f"Writing {archive} ...")
                asked.archive.mkdir(parents=True, exist_ok=True)
                engine.save(name, archive)
            if asked.push:
                say(f"Pushing {name} to {asked.push} ...")
                name = engine.push(name, asked.push)
            print(name)
    except ImageError as error:
        say(str(error))
        return 1
    return 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.image",
        description="Build the images that the chart installs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "targets", nargs="*", type=_read_target, metavar="TARGET", help="worker or flows (default: both)"
    )
    parser.add_argument("--torch", choices=("cuda", "cpu"), default="cuda", help="build of torch (default: cuda)")
    parser.add_argument(
        "--base",
        metavar="IMAGE",
        help="image with Python 3.11 to build upon, or `debian` for one made of Debian's packages "
        "(default: python:3.11-slim, and debian where that cannot be pulled)",
    )
    parser.add_argument("--engine", choices=PROGRAMS, help="what builds (default: the first that answers)")
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="also write the images as files, see below")
    parser.add_argument(
        "--push", metavar="REGISTRY", help="also push the images, for example to registry.example.com/team"
    )
    parser.add_argument("--fresh", action="store_true", help="use nothing that an earlier build left")
    return parser.parse_args()


def _read_target(word: str) -> str:
    # Not by argparse's choices: with none of several words it refuses the empty list itself.
    if word not in TARGETS:
        raise argparse.ArgumentTypeError(f"{word!r} is no target; there are {' and '.join(TARGETS)}")
    return word


def _find_engine() -> Engine:
    engine = find_engine()
    if engine is None:
        say("Neither Docker nor Podman nor Buildah answers.")
        install_packages("buildah")
        engine = Engine("buildah")
    return engine


def _build_recipe(engine: Engine, asked: argparse.Namespace) -> Recipe:
    base = find_base(engine, asked.base)
    return Recipe(
        repository=_REPOSITORY,
        base=base,
        base_id=engine.find(base) or base,
        torch=asked.torch,
        # They hold the CPU build, whose version counts as newer than that of the CUDA build.
        wheels=_WHEELS if asked.torch == "cpu" and _WHEELS.is_dir() else None,
        is_fresh=asked.fresh,
    )


def _read_labels() -> dict[str, str]:
    """Return what the images say of where they come from."""
    return {"VERSION": str(read_project(_REPOSITORY)["version"]), "REVISION": _read_revision() or "unknown"}


def _read_revision() -> str:
    """Return the commit, and whether the checkout differs from it; empty where git does not know."""
    if shutil.which("git") is None:
        return ""
    command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
