"""Lists what each image installs, and asks whether anything of it is known to be vulnerable.

``python -m scripts.audit``, from the repository's root. Writes one software bill of materials per image (CycloneDX) and
then audits the same list with pip-audit against https://osv.dev. A service that cannot be reached is an audit that did
not happen: the command says so and fails.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_CYCLONEDX = "cyclonedx-bom==7.5.0"
_PIP_AUDIT = "pip-audit==2.10.1"
_REPOSITORY = Path(__file__).parents[1]
_EXTRAS = {"worker": ("worker", "s3"), "flows": ("flows", "s3")}
"""What the Dockerfile installs into each image."""


class AuditError(Exception):
    """The list could not be made, or the audit did not happen."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A version that is installed and known to be vulnerable."""

    package: str
    version: str
    advisory: str
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        """Say what is wrong and what mends it."""
        remedy = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no fixed version yet"
        return f"{self.package} {self.version}: {self.advisory}, {remedy}"


def main() -> int:
    """Write the bills of materials, then audit; 0 if nothing is known, 1 if something is, 2 if nobody could say."""
    parser = argparse.ArgumentParser(prog="python -m scripts.audit", description=__doc__.partition("\n")[0])
    parser.add_argument("--uv", default="uv", metavar="PROGRAM", help="uv (default: the one on PATH)")
    parser.add_argument("--output", type=Path, default=_REPOSITORY / "dist" / "sbom", metavar="FOLDER")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    try:
        lists = {target: list_packages(asked.uv, target, asked.output) for target in _EXTRAS}
        for target, packages in lists.items():
            bill = write_bill(asked.uv, packages)
            print(f"{target}: {count(packages)} packages, listed in {bill}")
        findings = {finding for packages in lists.values() for finding in audit(asked.uv, packages)}
    except AuditError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(sorted(map(str, findings))) or "Nothing of it is known to be vulnerable.")
    return 1 if findings else 0


def list_packages(uv: str, target: str, folder: Path) -> Path:
    """Write the pinned packages of an image, as pip reads them."""
    path = folder / f"{target}.txt"
    extras = [word for extra in _EXTRAS[target] for word in ("--extra", extra)]
    options = ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", "3.11"]
    options += ["--python-platform", "x86_64-manylinux_2_28", "--constraint", "requirements.lock"]
    run(uv, "pip", "compile", "pyproject.toml", *extras, *options, "--output-file", str(path))
    return path


def count(packages: Path) -> int:
    """Return how many packages a list pins."""
    return sum("==" in line for line in packages.read_text("utf-8").splitlines())


def write_bill(uv: str, packages: Path) -> Path:
    """Write the bill of materials beside a list."""
    path = packages.with_suffix(".cdx.json")
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "--output-file", str(path)]
    run(uv, "tool", "run", "--from", _CYCLONEDX, "cyclonedx-py", "requirements", *options, str(packages))
    return path


def audit(uv: str, packages: Path) -> list[Finding]:
    """Return what is known of the packages of a list.

    Raises:
        AuditError: The service gave no answer for all of them.
    """
    path = packages.with_suffix(".audit.json")
    path.unlink(missing_ok=True)
    # By OSV and not by the package index: an index without advisories would look like packages without any.
    options = ["--vulnerability-service", "osv", "--no-deps", "--disable-pip", "--strict", "--progress-spinner", "off"]
    command = [uv, "tool", "run", "--from", _PIP_AUDIT, "pip-audit", "--requirement", str(packages), *options]
    command += ["--format", "json", "--output", str(path)]
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    if not path.exists():
        last = (done.stderr.strip() or "no words").splitlines()[-1]
        raise AuditError(
            f"NOT AUDITED: pip-audit had no answer about {packages}: {last}\n"
            "The bills of materials are written. Run this again where https://api.osv.dev can be reached."
        )
    return read_findings(path.read_text("utf-8"))


def read_findings(report: str) -> list[Finding]:
    """Return the findings in a report of pip-audit."""
    return [
        Finding(package["name"], package["version"], advisory["id"], tuple(advisory["fix_versions"]))
        for package in json.loads(report)["dependencies"]
        for advisory in package.get("vulns", [])
    ]


def run(*command: str) -> None:
    """Run a tool that must work.

    Raises:
        AuditError: It did not.
    """
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AuditError(f"{' '.join(command[:4])} ended with {done.returncode}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
