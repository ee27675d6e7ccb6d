"""Ports of a cluster's pods and services on this machine, as ``kubectl port-forward`` brings them."""

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.binaries import find_program
from cluster.kubectl import Kubectl


@contextmanager
def forwarded(kubectl: Kubectl, target: str, port: int) -> Iterator[str]:
    """Forward a port of a pod or a service for as long as the block lasts, and yield the local one."""
    forwarding = _Forwarding(kubectl, target, port)
    try:
        yield forwarding.local_port
    finally:
        forwarding.stop()


class _Forwarding:
    """Runs ``kubectl port-forward`` again and again, by the same local port: it ends with the pod that it chose."""

    def __init__(self, kubectl: Kubectl, target: str, port: int) -> None:
        """Forward at once, and come back when connections are taken."""
        self._command = [str(find_program("kubectl")), f"--kubeconfig={kubectl.kubeconfig}"]
        self._command += [f"--namespace={kubectl.namespace}", "port-forward", target]
        self._port = port
        self._is_stopped = threading.Event()
        self._process = self._start("")
        self.local_port = self._read_port()
        self._thread = threading.Thread(target=self._keep_on, name=target, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped.set()
        self._process.terminate()
        self._thread.join()

    def _start(self, local_port: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._command, f"{local_port}:{self._port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _read_port(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        found = re.search(r":(\d+) ->", line)
        assert found, line
        return found.group(1)

    def _keep_on(self) -> None:
        while True:
            self._process.communicate()
            if self._is_stopped.wait(0.5):
                return
            self._process = self._start(self.local_port)
