"""What the test cluster is built with is looked at before anything is built; nothing here starts one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.binaries import PACKAGES, ROOT, find_missing_packages


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that goes before all others on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


def install(folder: Path, name: str, script: str = "") -> None:
    """Put a program into a folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def install_go(folder: Path, version: str, toolchain: str) -> None:
    """Put a Go of some version into a folder."""
    install(
        folder, "go", f'if [ "$1" = version ]; then echo "go version {version} linux/amd64"; else echo {toolchain}; fi'
    )


def check() -> subprocess.CompletedProcess[str]:
    """Run what .ci/run and the preparation run first."""
    return subprocess.run(
        [sys.executable, "-m", "cluster", "check"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("version", "toolchain"),
    [("go1.26.0", "local"), ("go1.30", "local"), ("go1.21.3", "auto"), ("go1.24.1", "go1.26.1+auto")],
)
def test_a_go_that_can_build_the_cluster_passes(programs: Path, version: str, toolchain: str) -> None:
    install_go(programs, version, toolchain)

    done = check()

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("version", "toolchain", "remedy"),
    [
        ("go1.19.8", "auto", "install Go 1.26, or 1.21 or later"),
        ("go1.24.1", "local", "set GOTOOLCHAIN=auto"),
    ],
)
def test_one_that_cannot_is_refused_with_the_remedy(programs: Path, version: str, toolchain: str, remedy: str) -> None:
    install_go(programs, version, toolchain)

    done = check()

    assert done.returncode == 1
    assert version in done.stderr
    assert remedy in done.stderr
    assert "KUBECONFIG" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_go_it_says_what_to_do(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))

    done = check()

    assert done.returncode == 1
    assert "not on PATH; install Go 1.26" in done.stderr


def test_a_cluster_that_is_given_with_its_clients_needs_no_go(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("KUBECONFIG", "config")
    for name in ("kubectl", "helm"):
        install(programs, name)

    assert check().returncode == 0


def test_a_program_that_is_there_needs_no_package(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    assert find_missing_packages() == list(PACKAGES)

    for name in ("containerd", "containerd-shim-runc-v2", "ctr", "runc"):
        install(programs, name)

    assert set(PACKAGES) - set(find_missing_packages()) == {"containerd", "runc"}
