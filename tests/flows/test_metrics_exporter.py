"""The flow side's metrics over real HTTP: forms, trouble, and the last scrape."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from flows import http_thread
from flows.metrics.arms import StoreSnapshot
from flows.metrics.exporter import HOST_ENV, MAX_CONNECTIONS, PORT_ENV, MetricsServerError, StoreExporter, start_metrics
from flows.metrics.store_text import STORE_METRICS, StoreText
from promtool import run_promtool
from s3_server import S3Server
from stored_arms import StoredArms
from worker.contract.errors import ConfigError
from worker.contract.metric_names import SERIES_LABELS
from worker.contract.plan import Plan
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore

Wait = Callable[..., None]
STARTED_AT = time.time() - 8
RISING = [0.25, 0.5, 0.5, 0.75, 0.75]


@contextmanager
def exporting(store: ResultsStore) -> Iterator[StoreExporter]:
    exporter = StoreExporter(store, 0)
    exporter.start()
    try:
        yield exporter
    finally:
        exporter.stop()


@pytest.fixture
def arms(tmp_path: Path, make_plan: Callable[..., Plan]) -> StoredArms:
    """A finished arm, and one that is running."""
    arms = StoredArms(ResultsStore(str(tmp_path / "results")), make_plan("Frozen A", "Live B"))
    arms.put_plan()
    now = time.time()
    arms.put_finished({"Frozen A": [RISING]}, at=now)
    live = arms.plan.arms[1]
    arms.put_progress(live, 2, at=STARTED_AT + 3, started_at=STARTED_AT)
    arms.put_status(live, ArmState.RUNNING, at=now, queued_at=STARTED_AT - 20, started_at=STARTED_AT - 2)
    arms.put_attempts(live, 0, 1)
    arms.put_curve(live, 0, RISING[:3])
    return arms


@pytest.fixture
def exporter(arms: StoredArms) -> Iterator[StoreExporter]:
    with exporting(arms.store) as exporter:
        exporter.look()
        yield exporter


def scrape(exporter: StoreExporter, headers: Mapping[str, str] | None = None, path: str = "/metrics") -> httpx.Response:
    # No proxy stands between this machine and itself, whatever the environment says.
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.get(exporter.address.removesuffix("/metrics") + path, headers=dict(headers or {}))


def samples(exporter: StoreExporter) -> dict[str, list[float]]:
    """Return the values of every metric by name, as they are scraped."""
    return by_name(text_string_to_metric_families(scrape(exporter).text))


def shown(snapshot: StoreSnapshot) -> dict[str, list[float]]:
    """Return the values of every metric by name, as they would be scraped."""
    return by_name(text_string_to_metric_families(StoreText(generate_latest).render(snapshot).decode()))


def by_name(families: Iterable[Metric]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found


def console() -> Console:
    return Console(file=StringIO(), force_terminal=False, width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_every_metric_of_the_contract_is_exposed_and_no_other(arms: StoredArms, exporter: StoreExporter) -> None:
    # Seen to move, it has a time left.
    arms.put_progress(arms.plan.arms[1], 3, at=STARTED_AT + 8, started_at=STARTED_AT)
    exporter.look()
    families = list(text_string_to_metric_families(scrape(exporter).text))

    # What both sources give is under the same names and labels as at the worker; see tests/worker/test_exporter.py.
    assert {sample.name for family in families for sample in family.samples} == {each.name for each in STORE_METRICS}
    assert all(
        set(sample.labels) == set(SERIES_LABELS[sample.name]) for family in families for sample in family.samples
    )
    assert {family.documentation for family in families} == {each.help for each in STORE_METRICS}


def test_a_scrape_comes_in_the_form_that_was_asked_for(exporter: StoreExporter) -> None:
    plain = scrape(exporter, {"Accept-Encoding": "identity"})
    openmetrics = scrape(exporter, {"Accept": "application/openmetrics-text;version=1.0.0"})
    with httpx.Client(trust_env=False) as client, client.stream("GET", exporter.address) as zipped:
        content = b"".join(zipped.iter_raw())

    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")
    assert len(list(parse_openmetrics(openmetrics.text))) == len(STORE_METRICS)  # type: ignore[no-untyped-call]
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(content).startswith(b"# HELP freeze_bench_run_info")
    assert b"_created" not in plain.content


def test_health_is_answered_other_paths_are_not_found_and_nothing_can_be_changed(exporter: StoreExporter) -> None:
    assert scrape(exporter, path="/healthz").text == "ok\n"
    assert scrape(exporter, path="/").status_code == 404
    with httpx.Client(trust_env=False) as client:
        assert client.post(exporter.address).status_code == 405
        assert client.head(exporter.address).content == b""


def test_a_scrape_reads_no_store_and_the_next_look_brings_what_is_new(
    arms: StoredArms, exporter: StoreExporter, wait_until: Wait
) -> None:
    arms.put_curve(arms.plan.arms[1], 0, RISING)

    def has_come() -> bool:
        return len(samples(exporter)["freeze_bench_eval_accuracy_by_step_ratio"]) == 10

    wait_until(has_come, "the new points, by the thread that looks")


def test_a_store_that_is_away_leaves_the_last_state_and_is_counted(
    s3_server: S3Server, s3_url: str, make_plan: Callable[..., Plan], caplog: pytest.LogCaptureFixture
) -> None:
    arms = StoredArms(ResultsStore(s3_url), make_plan("Frozen A"))
    arms.put_plan()
    arms.put_finished({"Frozen A": [RISING]}, at=time.time())
    exporter = StoreExporter(arms.store, 0)
    exporter.look()
    s3_server.cut()
    try:
        for _ in range(2):
            exporter.look()
        away = shown(exporter.snapshot)
    finally:
        s3_server.mend()
    exporter.look()
    back = shown(exporter.snapshot)

    assert len(away["freeze_bench_eval_accuracy_by_step_ratio"]) == 5
    assert away["freeze_bench_store_read_failures_total"] == back["freeze_bench_store_read_failures_total"] == [2]
    read_at = "freeze_bench_store_last_read_timestamp_seconds"
    assert away[read_at] < back[read_at]
    words = [record.getMessage() for record in caplog.records if record.name == "freeze_bench.metrics"]
    assert len(words) == 2
    assert words[0].startswith("The metrics stand still, because the results store does not answer: ")
    assert words[1] == "The results store answers again, and the metrics go on."


def test_before_the_store_was_read_nothing_is_said_of_it_but_that() -> None:
    assert shown(StoreSnapshot()).keys() == {
        "freeze_bench_store_read_failures_total",
        "freeze_bench_store_unreadable_records",
        "freeze_bench_arms_left_out",
    }


def test_the_end_waits_for_the_scrape_of_the_last_state_if_there_were_scrapes(
    arms: StoredArms, exporter: StoreExporter, wait_until: Wait
) -> None:
    scrape(exporter)
    arms.put_finished({"Live B": [RISING]}, at=time.time())
    out = console()
    end = threading.Thread(target=exporter.linger, args=(out,))
    end.start()
    wait_until(lambda: "Waiting up to 60 s" in said(out), "the command to wait")
    assert end.is_alive()
    last = samples(exporter)
    end.join()

    assert len(last["freeze_bench_eval_accuracy_by_step_ratio"]) == 10
    assert said(out) == f"Waiting up to 60 s for the last scrape of {exporter.address}; Ctrl-C ends this.\n"


def test_the_end_waits_for_nobody_who_never_came(exporter: StoreExporter) -> None:
    out = console()
    exporter.linger(out)

    assert said(out) == ""


def test_the_wait_for_the_last_scrape_has_an_end(exporter: StoreExporter) -> None:
    scrape(exporter)
    out = console()
    exporter.linger(out, seconds=0.2)

    assert said(out).endswith("Nobody came: Prometheus may lack the last steps. The results store has them all.\n")


def test_ctrl_c_while_the_last_state_is_read_ends_the_wait_and_not_the_command(
    exporter: StoreExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, out = exporter.look, console()

    def look_until_interrupted() -> bool:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return look()

    monkeypatch.setattr(exporter, "look", look_until_interrupted)
    exporter.linger(out)

    assert said(out) == "Not waiting any more.\n"


def test_scrapers_that_say_nothing_do_not_keep_others_out_for_good(
    arms: StoredArms, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    monkeypatch.setattr(http_thread, "REQUEST_SECONDS", 1.0)
    with exporting(arms.store) as exporter, ExitStack() as silent:
        port = int(exporter.address.removesuffix("/metrics").rpartition(":")[2])
        for _ in range(MAX_CONNECTIONS):
            silent.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert scrape(exporter).status_code == 503
        wait_until(lambda: scrape(exporter).status_code == 200, "an answer")


def test_a_port_that_is_taken_is_said_with_what_to_do(arms: StoredArms, exporter: StoreExporter) -> None:
    port = int(exporter.address.removesuffix("/metrics").rpartition(":")[2])

    with pytest.raises(MetricsServerError, match=f"cannot be served on 127.0.0.1:{port}: Address already in use"):
        StoreExporter(arms.store, port)


def test_an_address_that_is_none_is_refused(arms: StoredArms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST_ENV, "everywhere")

    with pytest.raises(ConfigError, match="FREEZE_BENCH_METRICS_HOST is 'everywhere'"):
        StoreExporter(arms.store, 0)


def test_the_environment_says_where_the_metrics_are_and_whether(
    arms: StoredArms, monkeypatch: pytest.MonkeyPatch, exporter: StoreExporter
) -> None:
    monkeypatch.delenv(PORT_ENV, raising=False)
    assert start_metrics(arms.store.url) is None
    monkeypatch.setenv(PORT_ENV, exporter.address.removesuffix("/metrics").rpartition(":")[2])
    monkeypatch.setenv(HOST_ENV, "127.0.0.2")
    started = start_metrics(arms.store.url)
    assert started is not None
    started.stop()

    assert started.address.startswith("http://127.0.0.2:")


@pytest.mark.system
def test_the_linter_of_prometheus_has_nothing_against_the_metrics(exporter: StoreExporter) -> None:
    linted = run_promtool("check", "metrics", text=scrape(exporter).text)

    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")
