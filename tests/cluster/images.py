"""Container images for the test cluster: small ones are made here, file by file, and none is fetched."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.binaries import find_program

PAUSE_IMAGE = "freeze-bench.test/pause:1"
"""What holds the network of a pod."""

BUSYBOX_IMAGE = "freeze-bench.test/busybox:1"
"""A shell, for tests of the cluster itself."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What images call the processors that Python names."""

APPLETS = ("cat", "false", "head", "httpd", "id", "ls", "nslookup", "sh", "sleep", "touch", "true", "wget")


def write_pause_image(path: Path) -> Path:
    """Write an archive with the image that every pod needs."""
    files = {"pause": find_program("pause").read_bytes()}
    return write_image(path, PAUSE_IMAGE, files, entrypoint=["/pause"])


def write_busybox_image(path: Path) -> Path:
    """Write an archive with a shell, from the static busybox of this machine."""
    busybox = Path("/bin/busybox").read_bytes()
    return write_image(path, BUSYBOX_IMAGE, {"bin/busybox": busybox}, entrypoint=["/bin/sh", "-c"], applets=APPLETS)


def write_image(
    path: Path, name: str, files: Mapping[str, bytes], *, entrypoint: Sequence[str], applets: Sequence[str] = ()
) -> Path:
    """Write an archive with an image of one layer, for a numeric user.

    Args:
        path: The archive, in Docker's format.
        name: Repository and tag.
        files: Executable files by their path.
        entrypoint: What a container starts.
        applets: Other names of busybox.
    """
    layer = _layer(files, applets)
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"], "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add(archive, "layer.tar", layer)
        _add(archive, "config.json", json.dumps(config).encode())
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return path


def _layer(files: Mapping[str, bytes], applets: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name, content in files.items():
            _add(layer, name, content)
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            layer.addfile(link)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o755
    archive.addfile(entry, io.BytesIO(content))
