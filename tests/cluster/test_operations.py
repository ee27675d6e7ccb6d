"""docs/operations.md, line by line: every command that is not marked as needing more does what it should, in order."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.binaries import ROOT, find_program
from cluster.helm import Helm
from cluster.local_cluster import LocalCluster
from operations_guide import MARK, read_commands

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(1800)]

NAMESPACE = "freeze-bench"
RELEASE = "freeze-bench"

UNTIL_FORWARDED = "timeout 60 bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&-; do sleep 0.2; done'"
"""What a person does without a thought: look whether it is there before going on."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the guide's commands find in the repository's root; what they write stays here."""
    for name in ("charts", "plans", "prefect.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def environment(local_cluster: LocalCluster, images: dict[str, str], checkout: Path) -> Iterator[dict[str, str]]:
    """A terminal whose kubeconfig may be changed, on a cluster that has the images."""
    assert images
    kubeconfig = checkout / "kubeconfig"
    shutil.copy(local_cluster.kubeconfig, kubeconfig)
    folders = [Path(sys.executable).parent, find_program("kubectl").parent, find_program("helm").parent]
    yield {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FREEZE_BENCH_"))},
        "KUBECONFIG": str(kubeconfig),
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
    }
    namespace = local_cluster.kubectl.within(NAMESPACE)
    Helm(namespace).uninstall(RELEASE)
    local_cluster.kubectl.delete("namespace", NAMESPACE)
    local_cluster.reclaim_volumes()


def build_script() -> str:
    """Return the commands that can be run here, as one script."""
    lines = ["set -o errexit -o nounset -o pipefail"]
    for command in read_commands():
        if MARK.search(command):
            continue
        lines.append(command)
        if forwarded := re.search(r"port-forward \S+ (\d+) &$", command):
            lines.append(UNTIL_FORWARDED.format(port=forwarded[1]))
    return "\n".join(lines) + "\n"


def test_every_command_of_the_guide_works(checkout: Path, environment: dict[str, str]) -> None:
    script = checkout / "guide.sh"
    script.write_text(build_script(), encoding="utf-8")
    output = checkout / "output.txt"

    with output.open("w", encoding="utf-8") as log:
        shell = subprocess.Popen(
            ["bash", "-v", str(script)], cwd=checkout, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        exit_code = shell.wait()
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # what forwards ports runs on

    said = output.read_text("utf-8", errors="replace")
    assert exit_code == 0, said[-8000:]
    assert (checkout / "out" / "demo" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert '"state": "reused"' in said, "the same plan was submitted twice"
    assert "persistentvolumeclaim" in said.splitlines()[-1]
