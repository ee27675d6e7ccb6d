"""``/metrics`` and ``/healthz`` of the flow side, as an ASGI application: shows one snapshot, reads no store."""

import gzip
import threading
from collections.abc import Iterator

from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from flows.metrics.arms import StoreSnapshot, add_store
from worker.contract.metric_names import METRICS
from worker.contract.metric_spec import Samples, Source

STORE_METRICS = tuple(metric for metric in METRICS if Source.STORE in metric.sources)
"""What the flow side exposes."""

_MAX_FORMS = 8
"""Forms of one snapshot that are kept: who asks may ask for any."""

_NOT_YET = StoreSnapshot()


class SnapshotCollector(Collector):
    """Turns a snapshot into metric families."""

    def __init__(self, snapshot: StoreSnapshot) -> None:
        """Show this one."""
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield every family of ``STORE_METRICS``."""
        samples = Samples(STORE_METRICS)
        add_store(samples, self._snapshot)
        for spec, of_metric in samples.families():
            family = Metric(spec.family, spec.help, spec.kind)
            family.samples = [Sample(*sample) for sample in of_metric]
            yield family


class MetricsSite:
    """Answers scrapes with the snapshot that is shown; each of its forms is made once, whoever asks for it."""

    def __init__(self) -> None:
        """Show an empty store."""
        self._snapshot = _NOT_YET
        self._making = threading.Lock()
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
                text = encode(SnapshotCollector(snapshot))
                self._forms[key] = gzip.compress(text) if is_zipped else text
            return snapshot, self._forms[key]
