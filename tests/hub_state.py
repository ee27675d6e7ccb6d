"""What the stand-in hub knows while it serves: its repositories, and what was asked of it."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hub_repository import HubFile, HubRepository, RepositoryKind, hub_files


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was answered."""

    method: str
    path: str
    status: int


class HubState:
    """Shared by all connections' threads."""

    def __init__(self) -> None:
        """Start with no repositories and no requests."""
        self._lock = threading.Lock()
        self._repositories: dict[tuple[RepositoryKind, str], HubRepository] = {}
        self._requests: list[Request] = []
        self._downloads: Counter[tuple[str, str]] = Counter()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of their answers."""
        with self._lock:
            return list(self._requests)

    @property
    def downloads(self) -> Counter[tuple[str, str]]:
        """How often each (repository, file) was sent, whole or in part."""
        with self._lock:
            return self._downloads.copy()

    def forget_requests(self) -> None:
        """Count from zero again."""
        with self._lock:
            self._requests.clear()
            self._downloads.clear()

    def commit(
        self, kind: RepositoryKind, repo_id: str, contents: Mapping[str, bytes], branch: str, *, gated: bool
    ) -> str:
        """Put files on a branch of a repository, made if new, and return the commit."""
        with self._lock:
            repository = self._repositories.setdefault((kind, repo_id), HubRepository(kind, repo_id))
            repository.is_gated = gated
            return repository.commit(hub_files(contents), branch)

    def find(self, kind: RepositoryKind, repo_id: str) -> HubRepository | None:
        """Return a repository, None if there is none."""
        with self._lock:
            return self._repositories.get((kind, repo_id))

    def find_large_file(self, sha256: str) -> HubFile | None:
        """Return a file from large-file storage, None if there is none."""
        with self._lock:
            commits = [files for repository in self._repositories.values() for files in repository.commits.values()]
        large_files = (file for files in commits for file in files.values() if file.is_lfs)
        return next((file for file in large_files if file.sha256 == sha256), None)

    def count_request(self, request: Request) -> None:
        """Note one answered request."""
        with self._lock:
            self._requests.append(request)

    def count_download(self, repo_id: str, path: str) -> None:
        """Note that a file's content is being sent."""
        with self._lock:
            self._downloads[repo_id, path] += 1
