"""The results site: what a results store looks like over HTTP, as an ASGI application. Reads, and changes nothing."""

import logging
import os
import re
import stat
from pathlib import Path, PurePosixPath

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from flows.basic_auth import BasicAuth
from flows.results_pages import Folder, render_folder
from worker.contract.errors import ResultError, StoreError
from worker.contract.store import ResultsStore

HEALTH_PATH = "/healthz"
"""Answers without a password."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
"""What files and folders of a store are called. Nothing else is looked for, so no path can lead elsewhere."""

_MAX_DEPTH = 16
_FORMS = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}
_UNKNOWN_FORM = "application/octet-stream"
_STORE_AWAY_SECONDS = "10"

_NOTHING = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE_POLICY = f"{_NOTHING}; img-src 'self'"
_FILE_POLICY = f"{_NOTHING}; img-src data:; sandbox"
"""Of files, which others wrote: they run no script and reach nothing. SVG and HTML could."""

_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

log = logging.getLogger("freeze_bench.results_server")
"""Tells of a store that cannot be shown. Whoever runs decides where that is said."""


def parse_path(path: str) -> PurePosixPath | None:
    """Return the place in a store that the path of a URL names; None if it can name none.

    Args:
        path: Decoded, with the first slash, and with a last one or without.
    """
    if not path.startswith("/"):
        return None
    names = path[1:].removesuffix("/").split("/") if path != "/" else []
    if len(names) > _MAX_DEPTH or not all(_NAME.fullmatch(name) for name in names):
        return None
    return PurePosixPath(*names)


class ResultsSite:
    """Answers requests. There is no router: a path names a file or a folder of the store, or nothing.

    Args:
        store: What is shown.
        auth: Who may look; None lets everybody.
    """

    def __init__(self, store: ResultsStore, auth: BasicAuth | None) -> None:
        """Open the store anew, to be asked once per request: whoever looks will look again."""
        self._store = ResultsStore(store.url, patience_seconds=0)
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        response.headers.update({name: value for name, value in _HEADERS.items() if name not in response.headers})
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path: str = request.scope["path"]  # decoded once, by the server
        if path != HEALTH_PATH and self._auth and not self._auth.admits(request.headers.get("Authorization")):
            return PlainTextResponse("Who are you?\n", 401, {"WWW-Authenticate": BasicAuth.CHALLENGE})
        if request.method not in {"GET", "HEAD"}:
            return PlainTextResponse("This server changes nothing.\n", 405, {"Allow": "GET, HEAD"})
        if path == HEALTH_PATH:
            return PlainTextResponse("ok\n")
        return await run_in_threadpool(self._find, path)

    def _find(self, path: str) -> Response:
        place = parse_path(path)
        if place is None:
            return _not_found()
        try:
            return self._show(place, is_folder=path.endswith("/"))
        except StoreError as error:
            log.warning("The results store cannot be shown: %s", error)
            words = f"The results store does not answer: {error}\n" if error.may_pass else f"{error}\n"
            return PlainTextResponse(words, 503, {"Retry-After": _STORE_AWAY_SECONDS})

    def _show(self, place: PurePosixPath, *, is_folder: bool) -> Response:
        if not self._is_shown(place):
            return _not_found()
        if place.name:
            content = self._read(place)
            if content is not None:
                return _not_found() if is_folder else _file(place, content)
        names = [name for name in self._store.names(place) if _NAME.fullmatch(name)]
        if not names and place.name:
            return _not_found()
        if not is_folder:
            return RedirectResponse(f"{place.name}/", 307)
        folders = [name for name in self._store.folder_names(place) if name in names]
        folder = Folder(place, folders, [name for name in names if name not in folders])
        return HTMLResponse(render_folder(folder), headers={"Content-Security-Policy": _PAGE_POLICY})

    def _read(self, place: PurePosixPath) -> bytes | None:
        try:
            return self._store.read(place)
        except ResultError:  # a folder, or below a file
            return None

    def _is_shown(self, place: PurePosixPath) -> bool:
        """Whether there is a file or folder that lies in the store: a link could lead out, a pipe would never end."""
        local, root = self._store.local_path(place), self._store.local_path(PurePosixPath())
        if local is None or root is None or not place.name:
            return True
        found = os.path.realpath(local)  # Path.resolve raises for links that go round in a circle
        if not Path(found).is_relative_to(os.path.realpath(root)):
            return False
        try:
            mode = Path(found).lstat().st_mode  # still a link if it goes round in a circle
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # the store says what is wrong
        return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _file(place: PurePosixPath, content: bytes) -> Response:
    form = _FORMS.get(place.suffix, _UNKNOWN_FORM)
    headers = {"Content-Security-Policy": _FILE_POLICY}
    if form == _UNKNOWN_FORM:
        headers["Content-Disposition"] = "attachment"
    return Response(content, media_type=form, headers=headers)


def _not_found() -> Response:
    return PlainTextResponse("There is nothing here.\n", 404)
