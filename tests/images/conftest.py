"""The two images, built as `make image` builds them, and looked at from outside."""

import os

import pytest

from dockerfile import ROOT
from image_archives import ImageArchive, build_archives
from image_container import ImageContainer


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageArchive]:
    """Both images with the CPU build of torch, as the files that a cluster imports."""
    if os.geteuid() != 0:
        pytest.skip("unpacking an image and running in it needs root")
    folder = tmp_path_factory.mktemp("archives")
    build_archives(ROOT, folder)
    return {target: ImageArchive(folder / f"{target}.tar") for target in ("worker", "flows")}


@pytest.fixture(scope="session")
def worker_image(archives: dict[str, ImageArchive], tmp_path_factory: pytest.TempPathFactory) -> ImageContainer:
    return ImageContainer(archives["worker"], tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="session")
def flows_image(archives: dict[str, ImageArchive], tmp_path_factory: pytest.TempPathFactory) -> ImageContainer:
    return ImageContainer(archives["flows"], tmp_path_factory.mktemp("flows"))
