"""The text of a scrape, made at most twice a second, however many scrapers ask and however often."""

import gzip
import threading
import time

from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

FRESH_SECONDS = 0.5
"""How long a text is given out again: scrapes take time from the training, some milliseconds each."""

_MAX_FORMS = 8
"""Forms of one moment that are kept: who asks may ask for any."""


class ScrapeText:
    """Turns a collector into text, in the form that a scraper asks for."""

    def __init__(self, collector: Collector) -> None:
        """Nothing is made yet."""
        self._collector = collector
        self._lock = threading.Lock()
        self._made_at = 0.0
        self._forms: dict[tuple[str, bool], bytes] = {}

    def render(self, accept: str, accept_encoding: str) -> tuple[list[tuple[str, str]], bytes]:
        """Return headers and body of an answer.

        Args:
            accept: Value of the header ``Accept``; may be empty.
            accept_encoding: Value of the header ``Accept-Encoding``; may be empty.
        """
        encode, content_type = choose_encoder(accept)
        is_zipped = gzip_accepted(accept_encoding)
        with self._lock:
            now = time.monotonic()
            if now - self._made_at > FRESH_SECONDS or len(self._forms) >= _MAX_FORMS:
                self._forms, self._made_at = {}, now
            key = content_type, is_zipped
            if key not in self._forms:
                text = encode(self._collector)
                self._forms[key] = gzip.compress(text) if is_zipped else text
            body = self._forms[key]
        return [("Content-Type", content_type), *([("Content-Encoding", "gzip")] if is_zipped else [])], body
