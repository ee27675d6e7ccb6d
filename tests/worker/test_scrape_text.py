"""The text of a scrape: made seldom, in every form."""

import gzip
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.scrape_text import ScrapeText


class Counting(Collector):
    """Says how often it was asked."""

    num_asked = 0

    def collect(self) -> Iterator[Metric]:
        self.num_asked += 1
        yield GaugeMetricFamily("asked", "How often.", value=self.num_asked)


def test_many_scrapes_at_once_get_one_text_and_a_later_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("worker.scrape_text.time.monotonic", lambda: now)
    text = ScrapeText(Counting())
    bodies = {text.render("", "")[1] for _ in range(10)}
    now += 0.6
    later = text.render("", "")[1]

    assert len(bodies) == 1
    assert b"asked 1.0" in bodies.pop()
    assert b"asked 2.0" in later


def test_each_form_is_what_was_asked_for() -> None:
    text = ScrapeText(Counting())
    plain, _ = text.render("", "identity")
    zipped, body = text.render("application/openmetrics-text;version=1.0.0", "gzip")

    assert dict(plain) == {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    assert dict(zipped)["Content-Encoding"] == "gzip"
    assert dict(zipped)["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(body).endswith(b"# EOF\n")
