"""Nothing of the machine that builds an image, and nothing that lies about in the checkout, is in the image."""

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from dockerfile import ROOT
from image_archives import ImageArchive, build_archives

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(1800)]

VERSION = "0.0.0"
"""Of the images that are built here, so that they do not replace the real ones."""


@pytest.fixture(scope="module")
def canaries() -> dict[str, bytes]:
    """Strings that stand nowhere else, one for each place that must not leak."""
    places = ("dotenv", "netrc", "hidden", "cache", "results", "git", "variable", "certificates")
    return {place: f"canary-{place}-{secrets.token_hex(12)}".encode() for place in places}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, canaries: dict[str, bytes]) -> Path:
    """A copy of the repository with canaries where people leave secrets."""
    folder = tmp_path_factory.mktemp("checkout")
    checkout = folder / "freeze-bench"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name, follow_symlinks=False)
    if (ROOT.parent / "shared").exists():
        (folder / "shared").symlink_to(ROOT.parent / "shared")
    for place, name in {
        "dotenv": ".env",
        "netrc": "worker/.netrc",
        "hidden": "flows/.secrets/token",
        "cache": "worker/__pycache__/canary.pyc",
        "results": "out/result.json",
        "git": ".git/config",
    }.items():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_bytes(canaries[place])
    pyproject = checkout / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    pyproject.write_text(re.sub(r'^version = ".*"', f'version = "{VERSION}"', text, flags=re.MULTILINE), "utf-8")
    return checkout


@pytest.mark.parametrize("target", ["flows", "worker"])
def test_no_secret_of_the_build_is_in_any_layer(
    target: str, checkout: Path, canaries: dict[str, bytes], tmp_path: Path
) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.write_bytes(read_certificates() + b"\n# " + canaries["certificates"] + b"\n")
    secret = canaries["variable"].decode()

    build_archives(
        *(checkout, tmp_path, target, "--fresh"),
        SSL_CERT_FILE=str(certificates),
        HF_TOKEN=secret,
        AWS_SECRET_ACCESS_KEY=secret,
        PREFECT_API_AUTH_STRING=secret,
    )

    archive = ImageArchive(tmp_path / f"{target}.tar")
    found = archive.find_bytes({**canaries, "known": f'"{VERSION}"'.encode()})
    assert {name for name, _ in found} == {"known"}, found


def read_certificates() -> bytes:
    """Return what this machine needs to reach a package index."""
    path = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    return path.read_bytes() if path.exists() else b""
