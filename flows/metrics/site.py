"""``/metrics`` and ``/healthz`` of the flow side, as an ASGI application: shows one snapshot, reads no store."""

import gzip
import threading

from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from flows.metrics.arms import StoreSnapshot
from flows.metrics.store_text import StoreText

_MAX_FORMS = 4
"""Forms of one snapshot that are kept: who asks may ask for any."""

_MAX_WRITERS = 2
"""Forms of which every arm's text is kept: there are two that Prometheus asks for."""

_NOT_YET = StoreSnapshot()


class MetricsSite:
    """Answers scrapes with the snapshot that is shown; each of its forms is made once, whoever asks for it."""

    def __init__(self) -> None:
        """Show an empty store."""
        self._snapshot = _NOT_YET
        self._making = threading.Lock()
        self._writers: dict[str, StoreText] = {}
        self._forms: dict[tuple[str, bool], bytes] = {}
        self._answered = threading.Condition()
        self._last_answered: StoreSnapshot | None = None

    @property
    def snapshot(self) -> StoreSnapshot:
        """What is shown now."""
        return self._snapshot

    @property
    def was_scraped(self) -> bool:
        """Whether anybody has scraped so far."""
        return self._last_answered is not None

    def show(self, snapshot: StoreSnapshot) -> None:
        """Show another snapshot from now on."""
        with self._making:
            self._snapshot = snapshot
            self._forms = {}

    def wait_until_scraped(self, seconds: float) -> bool:
        """Wait until the snapshot that is shown has been scraped, and say whether it was."""
        snapshot = self._snapshot
        with self._answered:
            return self._answered.wait_for(lambda: self._last_answered is snapshot, seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method not in {"GET", "HEAD"}:
            response: Response = PlainTextResponse("This server changes nothing.\n", 405, {"Allow": "GET, HEAD"})
        elif request.url.path == "/healthz":
            response = PlainTextResponse("ok\n")
        elif request.url.path == "/metrics":
            await self._answer_scrape(request, send)
            return
        else:
            response = PlainTextResponse("There are /metrics and /healthz.\n", 404)
        await response(scope, receive, send)

    async def _answer_scrape(self, request: Request, send: Send) -> None:
        accept = request.headers.get("Accept", "")
        is_zipped = gzip_accepted(request.headers.get("Accept-Encoding", ""))
        _, content_type = choose_encoder(accept)
        snapshot, content = await run_in_threadpool(self._form, accept, is_zipped=is_zipped)
        headers = {"Content-Type": content_type, **({"Content-Encoding": "gzip"} if is_zipped else {})}
        await Response(content, headers=headers)(request.scope, request.receive, send)
        if request.method == "GET":
            with self._answered:
                self._last_answered = snapshot
                self._answered.notify_all()

    def _form(self, accept: str, *, is_zipped: bool) -> tuple[StoreSnapshot, bytes]:
        """Return the snapshot that is shown, and its text in one form."""
        encode, content_type = choose_encoder(accept)
        with self._making:
            snapshot, key = self._snapshot, (content_type, is_zipped)
            if key not in self._forms:
                if len(self._forms) >= _MAX_FORMS:
                    self._forms.clear()
                if content_type not in self._writers:
                    if len(self._writers) >= _MAX_WRITERS:
                        self._writers.clear()
                    self._writers[content_type] = StoreText(encode)
                text = self._writers[content_type].render(snapshot)
                self._forms[key] = gzip.compress(text) if is_zipped else text
            return snapshot, self._forms[key]
