"""A stand-in for the Hugging Face hub on the loopback interface: enough of its protocol for the real clients.

```
with HubServer() as hub:
    commit = hub.add_model("acme/tiny", folder)
    subprocess.run([...], env=hub.environment(tmp_path / "hf"))
    assert hub.downloads["acme/tiny", "config.json"] == 1
```
The clients read ``HF_ENDPOINT`` when they are imported, so they run in processes of their own.
"""

import os
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from hub_handler import GRANTED_TOKEN, HubFrontServer, LoopbackServer, StorageHandler
from hub_repository import read_folder
from hub_state import HubState, Request

__all__ = ["GRANTED_TOKEN", "HubServer", "Request"]

_OVERRIDDEN_PREFIXES = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_", "TRANSFORMERS_", "DATASETS_")


class HubServer:
    """Serves model and data set repositories until the ``with`` block ends."""

    def __init__(self) -> None:
        """Take free ports; nothing is served before the ``with`` block."""
        self._state = HubState()
        storage = LoopbackServer(StorageHandler, self._state)
        self._front = HubFrontServer(storage)
        self._servers = (storage, self._front)
        # The default poll interval of half a second is what each shutdown would wait.
        self._threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            for server in self._servers
        ]

    def __enter__(self) -> Self:
        """Start to serve."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop to serve and free the ports."""
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    @property
    def endpoint(self) -> str:
        """Value for ``HF_ENDPOINT``."""
        return self._front.endpoint

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of their answers."""
        return self._state.requests

    @property
    def downloads(self) -> Counter[tuple[str, str]]:
        """How often each (repository, file) was sent, whole or in part."""
        return self._state.downloads

    def forget_requests(self) -> None:
        """Count from zero again."""
        self._state.forget_requests()

    def add_model(self, repo_id: str, folder: Path, *, branch: str = "main", gated: bool = False) -> str:
        """Commit the files of ``folder`` as they are now; a second call moves the branch and keeps the old commit.

        Args:
            repo_id: ``owner/name``.
            folder: Where the files lie.
            branch: What to put the commit on; made if new.
            gated: Whether files are refused without ``GRANTED_TOKEN``.

        Returns:
            The commit, 40 hex digits.
        """
        return self._state.commit("models", repo_id, read_folder(folder), branch, gated=gated)

    def add_dataset(
        self, repo_id: str, files: Mapping[str, bytes], *, branch: str = "main", gated: bool = False
    ) -> str:
        """Commit ``files``, by path in the repository; otherwise as ``add_model``."""
        return self._state.commit("datasets", repo_id, files, branch, gated=gated)

    def environment(self, hf_home: Path, *, offline: bool = False, token: str | None = None) -> dict[str, str]:
        """Return the whole environment of a process whose clients use this hub and nothing of the user's.

        Args:
            hf_home: The process's own ``HF_HOME``: caches and credentials.
            offline: Whether the clients must not ask at all.
            token: Access token, if any.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.upper().startswith(_OVERRIDDEN_PREFIXES)
        }
        environment |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(hf_home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        if offline:
            environment["HF_HUB_OFFLINE"] = "1"
        if token is not None:
            environment["HF_TOKEN"] = token
        return environment
