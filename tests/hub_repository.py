"""What the stand-in hub stores: commits of named files, and the JSON in which the hub describes them.

Knows nothing of HTTP. Field names and identities are those that the hub's clients read.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

RepositoryKind = Literal["models", "datasets"]

LFS_SUFFIXES = frozenset({".bin", ".gguf", ".model", ".parquet", ".safetensors"})
"""Files that the hub keeps in large-file storage: identified by SHA-256, and served after a redirect."""

_CREATED_AT = "2025-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class HubFile:
    """One version of one file."""

    content: bytes
    is_lfs: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)

    @cached_property
    def sha256(self) -> str:
        """Identity in large-file storage."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def blob_id(self) -> str:
        """Identity in git: of the content, or of the pointer that stands for it."""
        stored = self.pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored, usedforsecurity=False).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        """What git stores in place of a large file."""
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
            self.sha256.encode(),
            self.size,
        )

    @property
    def etag(self) -> str:
        """What the clients name the cached blob after."""
        return self.sha256 if self.is_lfs else self.blob_id


Files = Mapping[str, HubFile]


def hub_files(contents: Mapping[str, bytes]) -> dict[str, HubFile]:
    """Return files as the hub stores them, by path in the repository."""
    return {
        path: HubFile(content, is_lfs=PurePosixPath(path).suffix in LFS_SUFFIXES)
        for path, content in sorted(contents.items())
    }


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below ``folder``, by path relative to it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@dataclass
class HubRepository:
    """A model or data set repository with its history."""

    kind: RepositoryKind
    repo_id: str
    is_gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, branch: str) -> str:
        """Put ``files`` on ``branch`` and return the commit: equal for equal content, whatever came before."""
        listing = "".join(f"{file.blob_id} {path}\n" for path, file in sorted(files.items()))
        commit = hashlib.sha1(f"{self.repo_id}\n{listing}".encode(), usedforsecurity=False).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        return commit

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a branch or of a full commit hash, None if there is none."""
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None

    def describe(self, commit: str, *, with_blobs: bool) -> dict[str, Any]:
        """Return the answer to ``model_info`` and ``dataset_info``."""
        siblings = [
            {"rfilename": path, **(_blob(file) if with_blobs else {})} for path, file in self.commits[commit].items()
        ]
        return {
            "_id": commit[:24],
            "id": self.repo_id,
            "modelId" if self.kind == "models" else "datasetId": self.repo_id,
            "sha": commit,
            "private": False,
            "gated": "manual" if self.is_gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "createdAt": _CREATED_AT,
            "lastModified": _CREATED_AT,
            "siblings": siblings,
        }

    def tree(self, commit: str, folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
        """Return what lies below a folder, folders too; None if there is no such folder."""
        prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
        files = {path: file for path, file in self.commits[commit].items() if path.startswith(prefix)}
        if prefix and not files:
            return None
        folders = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents} - {"."}
        entries = [self.entry(commit, path) for path in sorted({*files, *folders}) if path.startswith(prefix)]
        depth = prefix.count("/")
        return [entry for entry in entries if entry and (recursive or entry["path"].count("/") == depth)]

    def entry(self, commit: str, path: str) -> dict[str, Any] | None:
        """Return one file or folder as the tree lists it, None if there is no such path."""
        files = self.commits[commit]
        last_commit = {"id": commit, "title": "Upload", "date": _CREATED_AT}
        file = files.get(path)
        if file is not None:
            lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}}
            return {
                "type": "file",
                "path": path,
                "oid": file.blob_id,
                "size": file.size,
                "lastCommit": last_commit,
                **(lfs if file.is_lfs else {}),
            }
        if any(name.startswith(f"{path}/") for name in files):
            oid = hashlib.sha1(f"{commit}{path}".encode(), usedforsecurity=False).hexdigest()
            return {"type": "directory", "path": path, "oid": oid, "size": 0, "lastCommit": last_commit}
        return None


def _blob(file: HubFile) -> dict[str, Any]:
    blob: dict[str, Any] = {"size": file.size, "blobId": file.blob_id}
    if file.is_lfs:
        blob["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return blob
