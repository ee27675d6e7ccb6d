"""Linux namespaces for a node: a machine within the machine, of which nothing stays behind.

Processes, network, mounts and the names in shared memory are the enclosure's own.
When its first process ends, the kernel ends every other in it, takes down its network and its mounts:
that is how it is stopped, and what happens by itself when whoever started it is killed.
"""

import fcntl
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from cluster.cgroups import make_cgroup, remove_cgroup

FOLDER = Path("/var/tmp/freeze-bench-cluster")  # noqa: S108 - a fixed place: there is one cluster on a machine
"""What the node has on disk. Not below /tmp, which may be memory. The cgroup of all containers is named like it."""

PRIVATE_SYSCTLS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
)
"""What a kubelet sets for the whole machine, and must not set for one that only lends it room."""


class EnclosureError(Exception):
    """The enclosure cannot be had; the message is what a person should read."""


class Enclosure:
    """A machine within the machine. Any process of root may act on it; it ends with the one that started it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Start nothing: ``start`` does, or somebody has."""
        self.folder = folder
        self._starter: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether somebody has started it."""
        with _lock_file(self.folder).open("a") as lock:
            return not _try_lock(lock)

    def start(self) -> None:
        """Make it, after clearing away what an earlier one has left behind.

        Raises:
            EnclosureError: It runs already, or this user may not make it.
        """
        if os.geteuid():
            raise EnclosureError(
                "a node needs root: namespaces, mounts, cgroups; set KUBECONFIG to a cluster that exists"
            )
        with _lock_file(self.folder).open("a") as lock:
            if not _try_lock(lock):
                raise EnclosureError(f"a cluster runs already: KUBECONFIG={self.folder}/admin.kubeconfig")
            _set_aside(self.folder)
            self.folder.mkdir(mode=0o700)  # private keys will lie in it
            for name in ("lib", "log", "pids", "sysctls"):
                (self.folder / name).mkdir()
            self._starter = _start_first_process(lock)
        (self.folder / "first.pid").write_text(str(_first_process(self._starter)), "utf-8")
        self._make_private()
        _remove_set_aside(self.folder)

    def stop(self) -> None:
        """End everything in it, and remove what it had on disk."""
        if self._starter is None:
            return
        assert self._starter.stdin
        self._starter.stdin.close()
        self._starter.wait()
        self._starter = None
        with _lock_file(self.folder).open("a") as lock:
            if _try_lock(lock):  # otherwise there is a new one already, which has done it
                _set_aside(self.folder)
        _remove_set_aside(self.folder)

    @property
    def pid(self) -> int:
        """The first process, as the machine counts."""
        return int((self.folder / "first.pid").read_text("utf-8"))

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command inside.

        Raises:
            EnclosureError: It failed, and ``check`` is set.
        """
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--ipc", "--uts", "--"]
        done = subprocess.run(
            [*inside, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise EnclosureError(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stderr.strip()}")
        return done

    def launch(self, name: str, *command: str) -> None:
        """Start a process that goes on; its output is added to ``log/<name>.log``."""
        script = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
        log = self.folder / "log" / f"{name}.log"
        pid = self.run("sh", "-c", script, "sh", str(log), *command).stdout
        (self.folder / "pids" / name).write_text(pid.strip(), "utf-8")

    def is_alive(self, name: str) -> bool:
        """Whether a launched process is there, or still holds what it has opened, such as its port."""
        process = Path(f"/proc/{self.pid}/root/proc", (self.folder / "pids" / name).read_text("utf-8").strip())
        try:
            stat = (process / "stat").read_text("utf-8")
            num_threads = len(list((process / "task").iterdir()))
        except OSError:
            return False
        is_dead = stat.rpartition(")")[2].split()[0] in {"X", "Z"}  # or waiting to be buried
        return not is_dead or num_threads > 1  # its other threads may take longer to die, and hold the port until then

    def kill(self, name: str) -> None:
        """End a launched process outright."""
        self.run("kill", "-9", (self.folder / "pids" / name).read_text("utf-8"), check=False)
        wait_until(lambda: not self.is_alive(name), f"{name} to end")

    def _make_private(self) -> None:
        """Give it its own of what programs write at fixed paths.

        Mounts over a path hide it inside, and are nothing outside; so no path of the machine has to be made for them.
        """
        self.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        self.run("mkdir", "/run/lock")
        self.run("mount", "--bind", str(self.folder / "lib"), "/var/lib")
        self.run("mount", "--bind", str(self.folder / "log"), "/var/log")
        for sysctl in PRIVATE_SYSCTLS:
            own = self.folder / "sysctls" / sysctl.replace("/", ".")
            own.write_bytes(Path("/proc/sys", sysctl).read_bytes())
            self.run("mount", "--bind", str(own), f"/proc/sys/{sysctl}")
        make_cgroup(self.folder.name)


def wait_until(is_so: Callable[[], bool], what: str, *, seconds: float = 60) -> None:
    """Ask until something is so.

    Raises:
        EnclosureError: It still is not.
    """
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise EnclosureError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def _start_first_process(lock: IO[str]) -> "subprocess.Popen[bytes]":
    """Start what the enclosure stands and falls with.

    It reads a pipe from here, and ends when nobody holds the other end.
    It ignores SIGCHLD, for then the kernel buries the orphans that every first process inherits.
    It holds the lock, so that the folder is taken for as long as there is an enclosure.
    """
    namespaces = ["--mount", "--net", "--pid", "--ipc", "--uts", "--mount-proc", "--fork", "--kill-child"]
    return subprocess.Popen(
        ["unshare", *namespaces, "sh", "-c", 'trap "" CHLD; exec cat'],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=[lock.fileno()],
        start_new_session=True,  # the terminal's Ctrl-C is not for it
    )


def _first_process(starter: "subprocess.Popen[bytes]") -> int:
    def children() -> list[psutil.Process]:
        if starter.poll() is not None:
            raise EnclosureError(f"unshare ended with exit code {starter.returncode}: no namespaces can be made here")
        return [child for child in psutil.Process(starter.pid).children() if child.name() == "cat"]

    wait_until(lambda: bool(children()), "the first process")
    return children()[0].pid


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _set_aside(folder: Path) -> None:
    """Make room where an enclosure was whose processes end or have ended. Its mounts have gone with them."""
    wait_until(lambda: remove_cgroup(folder.name), f"the processes of the cgroup {folder.name} to end")
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.old"))


def _remove_set_aside(folder: Path) -> None:
    """Remove what was set aside. Gigabytes of images take their time, and the next may start meanwhile."""
    for old in folder.parent.glob(f"{folder.name}.*.old"):
        shutil.rmtree(old, ignore_errors=True)  # another may be at it
