"""A real Prometheus of this machine, also over samples that it never scraped: they are written as a block before."""

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from free_port import free_port
from prometheus_api import PrometheusApi
from promtool import find_prometheus_program, run_promtool

START_SECONDS = 60.0


class Recorded(NamedTuple):
    """One sample as Prometheus would have stored it."""

    name: str
    labels: Mapping[str, str]
    """With those of the target."""
    value: float
    at: int
    """Unix time, seconds."""


def write_text(samples: Iterable[Recorded]) -> str:
    """Return samples as OpenMetrics text with timestamps."""
    lines = []
    for each in sorted(samples, key=lambda each: (each.name, each.at)):
        labels = ",".join(f'{name}="{value}"' for name, value in each.labels.items())
        lines.append(f"{each.name}{{{labels}}} {each.value!r} {each.at}")
    return "\n".join([*lines, "# EOF\n"])


@contextmanager
def run_prometheus(samples: Iterable[Recorded], folder: Path) -> Iterator[PrometheusApi]:
    """Run a Prometheus that has these samples and scrapes nothing, in an empty folder."""
    (folder / "samples.txt").write_text(write_text(samples), "utf-8")
    written = run_promtool("tsdb", "create-blocks-from", "openmetrics", folder / "samples.txt", folder / "data")
    assert written.returncode == 0, written.stdout + written.stderr
    with serve_prometheus({}, folder) as api:
        yield api


@contextmanager
def serve_prometheus(config: Mapping[str, Any], folder: Path) -> Iterator[PrometheusApi]:
    """Run a Prometheus whose database is ``data`` in a folder.

    Args:
        config: The whole of its configuration.
        folder: Its database may be there already.
    """
    (folder / "prometheus.yml").write_text(json.dumps(config), "utf-8")  # JSON is YAML
    port = free_port()
    command = [
        find_prometheus_program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        (folder / "log.txt").open("w", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/-/ready", server, folder / "log.txt")
            yield PrometheusApi(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


def _wait(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(address, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"Prometheus is not ready:\n{log.read_text('utf-8')[-2000:]}")
