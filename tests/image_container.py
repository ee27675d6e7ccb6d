"""Runs programs in an unpacked image as a strict cluster would: user 65532, root read-only, volumes for the rest."""

import os
import shlex
import subprocess
from pathlib import Path

from image_archives import ImageArchive

USER = 65532
VOLUMES = ("cache", "results", "tmp")
_MOUNTED = ("dev", "proc", "sys")
_SECONDS = 240


class ImageContainer:
    """An unpacked image and its volumes. What is started in it ends with the call, or with ``close`` of its process."""

    def __init__(self, archive: ImageArchive, folder: Path) -> None:
        self.archive = archive
        self.root = folder / "root"
        archive.unpack(self.root)
        self._volumes = folder / "volumes"
        for volume in VOLUMES:
            (self._volumes / volume).mkdir(parents=True)
            os.chown(self._volumes / volume, USER, USER)
        for name in (*VOLUMES, *_MOUNTED):
            (self.root / name).mkdir(exist_ok=True)

    def volume(self, name: str) -> Path:
        return self._volumes / name

    def words(self, *command: str, **variables: str) -> list[str]:
        """Return a command that runs another one inside, in mounts of its own that end with it."""
        root = shlex.quote(str(self.root))
        mounts = [f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}"]
        mounts += [f"mount --rbind /{name} {root}/{name}" for name in _MOUNTED]
        mounts += [f"mount --bind {shlex.quote(str(self.volume(name)))} {root}/{name}" for name in VOLUMES]
        environment = [f"{key}={value}" for key, value in {**self.archive.environment, **variables}.items()]
        inside = ["env", "-i", *environment, *command]
        start = [
            "setpriv",
            f"--reuid={USER}",
            f"--regid={USER}",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        # chroot comes first, because nobody but root may do it.
        last = shlex.join(["exec", "chroot", str(self.root), *start, *inside])
        return ["unshare", "--mount", "sh", "-ec", "\n".join([*mounts, last])]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        words = self.words(*command, **variables)
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)

    def start(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the image's own program to its end."""
        return self.run(*self.archive.config["Entrypoint"], *arguments, **variables)
