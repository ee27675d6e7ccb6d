"""Reads an image archive as `docker save` writes it, whatever engine made it."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WHITEOUT = ".wh."
_CHUNK_BYTES = 1 << 20


def build_archives(repository: Path, folder: Path, *words: str, **variables: str) -> None:
    """Build the images of a checkout with the CPU build of torch, and write them into a folder as files."""
    command = [sys.executable, "-m", "scripts.image", "--torch", "cpu", "--archive", str(folder), *words]
    subprocess.run(command, cwd=repository, env={**os.environ, **variables}, check=True)


class ImageArchive:
    """One image in an archive: its config, and its layers from the lowest up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        [manifest] = json.loads(self._read("manifest.json"))
        self.names: list[str] = manifest["RepoTags"]
        self.layers: list[str] = manifest["Layers"]
        document: dict[str, Any] = json.loads(self._read(manifest["Config"]))
        self.history: list[dict[str, Any]] = document.get("history", [])
        self.config: dict[str, Any] = document["config"]

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.config["Env"])

    def unpack(self, root: Path) -> None:
        """Lay the layers over each other in a folder, as a container would see them. Needs root for owners."""
        root.mkdir()
        for layer in self._open_layers():
            for member in layer:
                name = Path(member.name)
                if name.name.startswith(_WHITEOUT):
                    _remove(root / name.with_name(name.name.removeprefix(_WHITEOUT)))
                else:
                    layer.extract(member, root, filter="fully_trusted")

    def find_bytes(self, needles: dict[str, bytes]) -> set[tuple[str, str]]:
        """Return which needle stands in which file of any layer, the hidden ones and the config included."""
        found = {(name, "config") for name, needle in needles.items() if needle in json.dumps(self.config).encode()}
        found |= {(name, "history") for name, needle in needles.items() if needle in json.dumps(self.history).encode()}
        for layer in self._open_layers():
            for member in layer:
                if member.isfile():
                    found |= {(name, member.name) for name in self._needles_in(layer, member, needles)}
        return found

    def _needles_in(self, layer: tarfile.TarFile, member: tarfile.TarInfo, needles: dict[str, bytes]) -> set[str]:
        stream = layer.extractfile(member)
        assert stream is not None
        longest = max(map(len, needles.values()))
        found: set[str] = set()
        kept = b""
        while chunk := stream.read(_CHUNK_BYTES):
            window = kept + chunk
            found |= {name for name, needle in needles.items() if needle in window}
            kept = window[-longest:]
        return found

    def _open_layers(self) -> Iterator[tarfile.TarFile]:
        with tarfile.open(self._path) as archive:
            for name in self.layers:
                stream = archive.extractfile(name)
                with tarfile.open(fileobj=stream) as layer:
                    yield layer

    def _read(self, name: str) -> bytes:
        with tarfile.open(self._path) as archive:
            stream = archive.extractfile(name)
            assert stream is not None
            return stream.read()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
