"""`make audit`: what an image installs is listed, and an audit that did not happen is no clean one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dockerfile import ROOT, read_stages
from scripts.audit import read_findings
from scripts.image.builds import TARGETS

UV = """#!{python}
import pathlib, sys
words = sys.argv[1:]
output = pathlib.Path(words[words.index("--output-file" if "--output-file" in words else "--output") + 1])
if "pip-audit" in words:
    report = pathlib.Path({report!r})
    if not report.exists():
        sys.exit("ConnectionError: the service does not answer")
    output.write_text(report.read_text())
else:
    output.write_text(" ".join(words))
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Where a test puts what pip-audit answers; without a file it has no answer."""
    return tmp_path / "report.json"


@pytest.fixture
def uv(tmp_path: Path, report: Path) -> Path:
    """A uv whose tools are not fetched: they write what they were asked."""
    path = tmp_path / "uv"
    path.write_text(UV.format(python=sys.executable, report=str(report)))
    path.chmod(0o755)
    return path


def audit(uv: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.audit", "--uv", str(uv), "--output", str(folder)]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)


def write_report(path: Path, *advisories: dict[str, object]) -> None:
    path.write_text(json.dumps({"dependencies": [{"name": "jinja2", "version": "3.1.2", "vulns": [*advisories]}]}))


def test_a_service_that_does_not_answer_is_no_clean_audit(uv: Path, tmp_path: Path) -> None:
    done = audit(uv, tmp_path / "sbom")

    assert done.returncode == 2
    assert "NOT AUDITED" in done.stderr
    assert "vulnerable" not in done.stdout
    assert {path.name for path in (tmp_path / "sbom").glob("*.cdx.json")} == {"worker.cdx.json", "flows.cdx.json"}


def test_what_is_known_is_told_with_its_remedy_and_fails(uv: Path, report: Path, tmp_path: Path) -> None:
    write_report(report, {"id": "GHSA-1", "fix_versions": ["3.1.3"]}, {"id": "GHSA-2", "fix_versions": []})

    done = audit(uv, tmp_path / "sbom")

    assert done.returncode == 1
    assert "jinja2 3.1.2: GHSA-1, fixed in 3.1.3\njinja2 3.1.2: GHSA-2, no fixed version yet" in done.stdout


def test_nothing_known_is_a_success(uv: Path, report: Path, tmp_path: Path) -> None:
    write_report(report)

    done = audit(uv, tmp_path / "sbom")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_that_was_skipped_has_no_findings() -> None:
    assert read_findings('{"dependencies": [{"name": "a", "skip_reason": "unknown"}]}') == []


@pytest.mark.parametrize("target", TARGETS)
def test_the_list_is_of_what_the_image_installs(uv: Path, tmp_path: Path, target: str) -> None:
    installed = read_stages()[f"{target}-install"].installed_extras

    audit(uv, tmp_path / "sbom")

    listed = re.findall(r"--extra (\w+)", (tmp_path / "sbom" / f"{target}.txt").read_text("utf-8"))
    assert sorted(listed) == sorted(installed)
