"""The stand-in hub's side of HTTP: addresses, headers, ranges, redirects and refusals as the hub's clients expect them.

Source:
    huggingface_hub 2.4.0: hf_api, file_download, hf_file_system, utils._http.hf_raise_for_status.
    datasets 5.2.0: load. transformers 5.23.0: utils.hub.
"""

import json
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from hub_repository import HubFile, HubRepository
from hub_state import HubState, Request

GRANTED_TOKEN = "hf_granted"  # noqa: S105 - opens the stand-in only
"""The access token to which gated repositories are open."""

_NAME = r"[^/]+(?:/[^/]+)?"
_API = re.compile(
    rf"/api/(?P<kind>models|datasets)/(?P<id>{_NAME})"
    r"(?:/(?P<verb>revision|tree|paths-info)/(?P<revision>[^/]+)(?:/(?P<path>.+))?)?"
)
_RESOLVE = re.compile(rf"/(?P<kind>datasets/)?(?P<id>{_NAME})/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_STORED = re.compile(rf"/(?P<sha256>[0-9a-f]{{64}})/(?P<id>{_NAME})/-/(?P<path>.+)")
_RANGE = re.compile(r"bytes=(?P<first>\d*)-(?P<last>\d*)")

Query = Mapping[str, list[str]]


class _RefusalError(Exception):
    """An answer that is not the thing asked for, in the hub's form."""

    def __init__(self, status: HTTPStatus, code: str, message: str, commit: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}
        if commit is not None:
            self.headers["X-Repo-Commit"] = commit  # the clients remember per commit what is not there


class LoopbackServer(ThreadingHTTPServer):
    """Listens on a free port of the loopback interface.

    Args:
        handler: What answers each connection.
        state: What the handlers share.
    """

    def __init__(self, handler: type["_Handler"], state: HubState) -> None:
        """Take the port; nothing is answered before ``serve_forever``."""
        super().__init__(("127.0.0.1", 0), handler)
        self.state = state

    @property
    def endpoint(self) -> str:
        """Address without a final slash."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's signature
        """Report a failure, unless it is a client that left with its connection open."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class HubFrontServer(LoopbackServer):
    """The hub itself; sends clients to ``storage`` for large files."""

    def __init__(self, storage: LoopbackServer) -> None:
        """Take the port; ``storage`` gives the state as well."""
        super().__init__(HubHandler, storage.state)
        self.storage = storage


class _Handler(BaseHTTPRequestHandler):
    """What the hub and its storage have in common."""

    protocol_version = "HTTP/1.1"
    server: LoopbackServer

    def do_GET(self) -> None:
        """Send a description, a listing or a file."""
        self._answer()

    def do_HEAD(self) -> None:
        """Send the headers that GET would send."""
        self._answer()

    def do_POST(self) -> None:
        """Send what is known of some paths."""
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's signature
        """Say nothing: ``HubServer.requests`` has it all."""

    def route(self, url: SplitResult, form: Query) -> None:
        """Answer one request or raise a refusal."""
        raise NotImplementedError

    def _answer(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
        try:
            self.route(urlsplit(self.path), form)
        except _RefusalError as refusal:
            body = json.dumps({"error": str(refusal)}).encode()
            self.send(refusal.status, body, {"Content-Type": "application/json", **refusal.headers})

    def send(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        # Counted first: a client that has its answer may look at the count at once.
        self.server.state.count_request(Request(self.command, self.path, status.value))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, file: HubFile, repo_id: str, path: str, headers: Mapping[str, str]) -> None:
        """Send a file or the part of it that was asked for."""
        headers = {**headers, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if self.command == "GET":
            self.server.state.count_download(repo_id, path)
        part = _range(self.headers.get("Range"), file.size)
        if part is None:
            self.send(HTTPStatus.OK, file.content, headers)
        elif not part:
            headers["Content-Range"] = f"bytes */{file.size}"
            self.send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", headers)
        else:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
            self.send(HTTPStatus.PARTIAL_CONTENT, file.content[part.start : part.stop], headers)


class HubHandler(_Handler):
    """Answers for the hub."""

    server: HubFrontServer

    def route(self, url: SplitResult, form: Query) -> None:
        """Answer by address."""
        if match := _API.fullmatch(url.path):
            self._answer_api(match, {**parse_qs(url.query), **form})
        elif match := _RESOLVE.fullmatch(url.path):
            self._answer_resolve(match)
        else:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "NotFound", "No such address")

    def _answer_api(self, match: re.Match[str], query: Query) -> None:
        repository = self._repository(match["kind"], match["id"])
        commit = self._commit(repository, match["revision"])
        path = unquote(match["path"] or "")
        document: object
        if match["verb"] == "tree":
            document = repository.tree(commit, path, recursive=_is_true(query, "recursive"))
            if document is None:
                raise _RefusalError(HTTPStatus.NOT_FOUND, "EntryNotFound", f"{path} does not exist", commit)
        elif match["verb"] == "paths-info":
            document = [entry for path in query.get("paths", []) if (entry := repository.entry(commit, path))]
        else:
            document = repository.describe(commit, with_blobs=_is_true(query, "blobs"))
        self.send(HTTPStatus.OK, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _answer_resolve(self, match: re.Match[str]) -> None:
        repository = self._repository("datasets" if match["kind"] else "models", match["id"])
        commit = self._commit(repository, match["revision"])
        if repository.is_gated and self.headers.get("Authorization") != f"Bearer {GRANTED_TOKEN}":
            status = HTTPStatus.FORBIDDEN if "Authorization" in self.headers else HTTPStatus.UNAUTHORIZED
            raise _RefusalError(status, "GatedRepo", f"Access to {repository.repo_id} is restricted.")
        path = unquote(match["path"])
        file = repository.commits[commit].get(path)
        if file is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found", commit)
        headers = {"X-Repo-Commit": commit}
        if file.is_lfs:
            location = f"{self.server.storage.endpoint}/{file.sha256}/{repository.repo_id}/-/{quote(path)}"
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size), "Location": location}
            self.send(HTTPStatus.FOUND, b"", headers)
        else:
            self.send_file(file, repository.repo_id, path, headers)

    def _repository(self, kind: str, repo_id: str) -> HubRepository:
        repository = self.server.state.find("datasets" if kind == "datasets" else "models", unquote(repo_id))
        if repository is None:
            # The hub does not tell strangers whether a repository is private or missing.
            status = HTTPStatus.NOT_FOUND if "Authorization" in self.headers else HTTPStatus.UNAUTHORIZED
            raise _RefusalError(status, "RepoNotFound", "Repository not found")
        return repository

    def _commit(self, repository: HubRepository, revision: str | None) -> str:
        name = unquote(revision or "main")
        commit = repository.resolve(name)
        if commit is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {name}")
        return commit


class StorageHandler(_Handler):
    """Answers for large-file storage, another origin than the hub: the clients must not send it their token."""

    def route(self, url: SplitResult, form: Query) -> None:  # noqa: ARG002 - the hub's handler reads it
        """Send the file with the SHA-256 in the address."""
        if "Authorization" in self.headers:
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "InvalidArgument", "The address alone authorises")
        match = _STORED.fullmatch(url.path)
        file = self.server.state.find_large_file(match["sha256"]) if match else None
        if match is None or file is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "NotFound", "No such object")
        self.send_file(file, match["id"], unquote(match["path"]), {})


def _is_true(query: Query, name: str) -> bool:
    return query.get(name, ["false"])[0].lower() in {"true", "1"}


def _range(header: str | None, size: int) -> range | None:
    """Return the bytes asked for: None for all of them, empty if they lie outside the file."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match["first"] == match["last"] == "":
        return None
    if match["first"] == "":
        return range(max(0, size - int(match["last"])), size)
    last = int(match["last"]) if match["last"] else size - 1
    return range(int(match["first"]), min(last + 1, size))
