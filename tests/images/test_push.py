"""`make push`: both images land in a registry."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockerfile import ROOT
from free_port import free_port
from image_archives import ImageArchive

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

START_SECONDS = 30
CONFIG = """
version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}
http:
  addr: 127.0.0.1:{port}
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A real registry on this machine, over plain HTTP; its host and port."""
    subprocess.run([ROOT / "scripts" / "install-debian-packages", "docker-registry"], check=True)
    port = free_port()
    config = tmp_path / "registry.yml"
    config.write_text(CONFIG.format(folder=tmp_path / "registry", port=port))
    with (tmp_path / "registry.log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/v2/")
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            get(url)
        except urllib.error.URLError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)
        else:
            return


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - the registry on this machine
        return bytes(response.read())


def test_an_image_that_is_pushed_can_be_had_from_the_registry(registry: str, archives: dict[str, ImageArchive]) -> None:
    assert archives
    command = [sys.executable, "-m", "scripts.image", "flows", "--torch", "cpu", "--push", f"{registry}/team"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    [name] = done.stdout.split()
    repository, _, version = name.removeprefix(f"{registry}/").partition(":")
    assert json.loads(get(f"http://{registry}/v2/{repository}/tags/list"))["tags"] == [version]
