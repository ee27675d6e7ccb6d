"""The results server: real HTTP, on a folder and on S3, for whoever should see results and for whoever should not."""

import base64
import http.client
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.basic_auth import BasicAuth
from flows.results_pages import Folder, render_folder
from flows.results_server import ResultsServer, ResultsServerError, link_results, start_results_server
from flows.results_site import parse_path
from s3_server import S3Server
from worker.contract.errors import ConfigError
from worker.contract.store import ResultsStore

AUTH = "team:c0rrect-h0rse"
SECRET = b"not for you"
FILES = {
    "demo/plan.json": b'{"name": "Demo"}',
    "demo/comparison.png": b"\x89PNG",
    "demo/comparison.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "demo/runs/live-a/seed-0/curve.jsonl": b'{"step": 0}\n',
    "demo/runs/live-a/notes.html": b"<script>alert(1)</script>",
    "demo/runs/live-a/weights.bin": b"\x00\x01",
    "demo/.lock": SECRET,
    "demo/.plan.json.abc.part": SECRET,
    "tickets/plan.json": b"{}",
}

Serve = Callable[[str], AbstractContextManager[httpx.Client]]


def fill(store: ResultsStore) -> ResultsStore:
    for path, content in FILES.items():
        store.write(PurePosixPath(path), content)
    return store


@contextmanager
def serving(url: str) -> Iterator[httpx.Client]:
    """A running server, and a client that knows the password."""
    server = ResultsServer(ResultsStore(url), "127.0.0.1", 0, BasicAuth(AUTH))
    server.start()
    try:
        # No proxy stands between this machine and itself, whatever the environment says.
        base = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=base, auth=httpx.BasicAuth(*AUTH.split(":")), trust_env=False) as client:
            yield client
    finally:
        server.stop()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "outside").mkdir()
    (folder / "outside" / "secret.json").write_bytes(SECRET)
    fill(ResultsStore(str(folder / "results")))
    return folder / "results"


@pytest.fixture(scope="module")
def client(results: Path) -> Iterator[httpx.Client]:
    with serving(str(results)) as client:
        yield client


@pytest.fixture(params=["folder", "s3"])
def any_client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """The same results in a folder and on S3."""
    if request.param == "folder":
        yield request.getfixturevalue("client")
    else:
        with serving(fill(ResultsStore(request.getfixturevalue("s3_url"))).url) as client:
            yield client


def ask_raw(client: httpx.Client, target: str, method: str = "GET") -> tuple[int, bytes]:
    """Send a path as it stands: other clients would tidy it up."""
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host=False, skip_accept_encoding=True)
        connection.putheader("Authorization", "Basic " + base64.b64encode(AUTH.encode()).decode())
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_first_page_lists_the_comparisons(any_client: httpx.Client) -> None:
    page = any_client.get("/")

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="./demo/"' in page.text
    assert 'href="./tickets/"' in page.text


def test_the_page_of_a_comparison_shows_its_chart_and_its_files(any_client: httpx.Client) -> None:
    page = any_client.get("/demo/").text

    assert '<img src="comparison.png"' in page
    assert page.index('href="./comparison.svg"') < page.index('href="./plan.json"')
    assert 'href="./runs/"' in page
    assert ".lock" not in page
    assert ".part" not in page


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("demo/plan.json", "application/json"),
        ("demo/comparison.png", "image/png"),
        ("demo/comparison.svg", "image/svg+xml"),
        ("demo/runs/live-a/seed-0/curve.jsonl", "application/jsonl"),
        ("demo/runs/live-a/notes.html", "text/html; charset=utf-8"),
        ("demo/runs/live-a/weights.bin", "application/octet-stream"),
    ],
)
def test_files_come_as_they_are_with_their_form(any_client: httpx.Client, path: str, form: str) -> None:
    answer = any_client.get(f"/{path}")

    assert answer.status_code == 200
    assert answer.content == FILES[path]
    assert answer.headers["content-type"] == form
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/demo/comparison.svg", "/demo/runs/live-a/notes.html"])
def test_no_file_may_run_a_script_or_send_anything(client: httpx.Client, path: str) -> None:
    rules = [rule.strip() for rule in client.get(path).headers["content-security-policy"].split(";")]

    assert "default-src 'none'" in rules
    assert "sandbox" in rules
    assert "form-action 'none'" in rules
    assert not any(rule.startswith("script-src") for rule in rules)


def test_a_file_of_unknown_form_is_not_opened_by_the_browser(client: httpx.Client) -> None:
    assert client.get("/demo/runs/live-a/weights.bin").headers["content-disposition"] == "attachment"


def test_a_folder_without_its_slash_leads_to_the_folder_behind_any_prefix(any_client: httpx.Client) -> None:
    answer = any_client.get("/demo/runs")

    assert answer.status_code == 307
    assert answer.headers["location"] == "runs/"


def test_head_tells_what_get_would_send(client: httpx.Client) -> None:
    answer = client.head("/demo/plan.json")

    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(FILES["demo/plan.json"]))
    assert answer.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "TRACE"])
def test_nothing_can_be_changed(client: httpx.Client, results: Path, method: str) -> None:
    answer = client.request(method, "/demo/plan.json")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert (results / "demo" / "plan.json").read_bytes() == FILES["demo/plan.json"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic dGVhbQ==",  # team, and no password
        f"Bearer {AUTH}",
        "Basic " + base64.b64encode(b"team:wrong").decode(),
        "Basic " + base64.b64encode(AUTH.encode() + b"\x00").decode(),
        "Basic " + base64.b64encode(AUTH.upper().encode()).decode(),
    ],
)
@pytest.mark.parametrize("path", ["/", "/demo/", "/demo/plan.json", "/nothing", "/healthz/"])
def test_without_the_password_there_is_nothing_to_see(client: httpx.Client, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}

    answer = httpx.get(client.base_url.join(path), headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert "demo" not in answer.text


@given(st.binary(max_size=64))
def test_no_other_credentials_are_taken(credentials: bytes) -> None:
    header = "Basic " + base64.b64encode(credentials).decode()

    assert BasicAuth(AUTH).admits(header) == (credentials == AUTH.encode())


def test_a_probe_needs_no_password(client: httpx.Client) -> None:
    answer = httpx.get(client.base_url.join("/healthz"), trust_env=False)

    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize(
    "target",
    [
        "/../outside/secret.json",
        "/demo/../../outside/secret.json",
        "/%2e%2e/outside/secret.json",
        "/..%2foutside%2fsecret.json",
        "/%252e%252e/outside/secret.json",
        "/demo/%2e%2e/%2e%2e/outside/secret.json",
        "/..%5coutside%5csecret.json",
        "/..\\outside\\secret.json",
        "//outside/secret.json",
        "/%2foutside/secret.json",
        "/demo//plan.json",
        "/demo/./plan.json",
        "/demo/plan.json/",
        "/demo/plan.json/more",
        "/demo/plan.json%00",
        "/demo/plan.json%00.png",
        "/demo/plan.json%0a",
        "/demo/%ff%fe",
        "/demo/.lock",
        "/demo/%2elock",
        "/demo/.plan.json.abc.part",
        "/demo/nothing",
        "/nothing/",
        "/" + 30 * "demo/",
        "/" + 400 * "x",
        "/~root",
        "/file:///etc/passwd",
        "/C:/secret.json",
    ],
)
def test_no_path_leads_elsewhere(client: httpx.Client, target: str) -> None:
    status, content = ask_raw(client, target)

    assert status == 404
    assert content == b"There is nothing here.\n"


@given(st.text(st.sampled_from("./%\\ab2ef5cdemo\x00\n"), max_size=40))
def test_whatever_is_asked_for_lies_in_the_store(path: str) -> None:
    place = parse_path("/" + path)

    if place is not None:
        assert not place.is_absolute()
        assert all(part.strip(".") and not part.startswith(".") for part in place.parts)
        assert "/".join(place.parts) == path.removesuffix("/")


@given(st.text(st.sampled_from("./%\\2e5cfdemoplan.js0"), min_size=1, max_size=30))
def test_no_path_is_answered_with_more_than_the_store_shows(client: httpx.Client, path: str) -> None:
    status, content = ask_raw(client, "/" + path)

    assert status in {200, 307, 404}
    assert SECRET not in content
    assert b"Traceback" not in content


def test_links_that_lead_out_of_the_store_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_bytes(SECRET)
    folder = tmp_path / "results" / "demo"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(b"{}")
    (folder / "inside.json").symlink_to("plan.json")
    (folder / "outside.json").symlink_to(tmp_path / "secret.json")
    (folder / "parent").symlink_to(tmp_path)
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")

    with serving(str(tmp_path / "results")) as client:
        found = {path.name: client.get(f"/demo/{path.name}").status_code for path in folder.iterdir()}
        through_folder = client.get("/demo/parent/secret.json").status_code

    assert found == {
        "circle": 404,
        "inside.json": 200,
        "outside.json": 404,
        "parent": 404,
        "pipe": 404,
        "plan.json": 200,
    }
    assert through_folder == 404


def test_a_store_that_was_never_written_to_is_an_empty_page(tmp_path: Path) -> None:
    with serving(str(tmp_path / "not-yet")) as client:
        page = client.get("/")

    assert page.status_code == 200
    assert "There is nothing here yet." in page.text


def test_a_store_in_trouble_is_said_in_its_own_words_and_shown_again_after(s3_server: S3Server, s3_url: str) -> None:
    with serving(fill(ResultsStore(s3_url)).url) as client:
        s3_server.cut()
        try:
            away = client.get("/demo/plan.json", timeout=60)
            away_folder = client.get("/demo/", timeout=60)
        finally:
            s3_server.mend()
        back = client.get("/demo/plan.json", timeout=60)

    for answer in (away, away_folder):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "10"
        assert answer.text.startswith("The results store does not answer: s3://")
        assert "Traceback" not in answer.text
    assert back.status_code == 200


@given(st.text(min_size=1, max_size=40))
def test_no_name_is_taken_for_markup(name: str) -> None:
    page = render_folder(Folder(PurePosixPath("demo"), (), (name + "<script>", '"><img onerror=x>')))

    assert "<script" not in page
    assert "<img" not in page
    assert '"><' not in page.replace('<html lang="en"><head>', "").replace('1"><style>', "").replace(
        '"utf-8"><title>', ""
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])  # noqa: S104 - it is refused
def test_without_a_password_only_this_machine_may_look(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="open to everybody") as caught:
        ResultsServer(ResultsStore(str(tmp_path)), host, 0, None)

    assert "FREEZE_BENCH_AUTH" in caught.value.remedy


def test_on_the_loopback_address_no_password_is_needed(results: Path) -> None:
    server = ResultsServer(ResultsStore(str(results)), "127.0.0.1", 0, None)
    server.start()
    try:
        assert httpx.get(f"http://127.0.0.1:{server.port}/demo/plan.json", trust_env=False).status_code == 200
    finally:
        server.stop()


def test_a_port_that_is_taken_is_one_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ResultsServerError) as caught:
            ResultsServer(ResultsStore(str(tmp_path)), "127.0.0.1", port, BasicAuth(AUTH))

    assert caught.value.problem == f"The results server cannot listen on 127.0.0.1:{port}: Address already in use."
    assert "FREEZE_BENCH_RESULTS_PORT" in caught.value.remedy


def test_the_environment_decides_whether_there_is_a_server(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FREEZE_BENCH_RESULTS_PORT", raising=False)
    assert start_results_server(str(results)) is None

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("FREEZE_BENCH_RESULTS_PORT", str(port))
    monkeypatch.setenv("FREEZE_BENCH_AUTH", AUTH)
    server = start_results_server(str(results))
    assert server is not None
    try:
        assert server.port == port
        assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code == 401
    finally:
        server.stop()


@pytest.mark.parametrize("port", ["http", "-1", "0", "65536", "80 "])
def test_a_port_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, port: str) -> None:
    monkeypatch.setenv("FREEZE_BENCH_RESULTS_PORT", port)

    with pytest.raises(ConfigError, match="FREEZE_BENCH_RESULTS_PORT is"):
        start_results_server(str(tmp_path))


@pytest.mark.parametrize("credentials", ["hunter2", ":hunter2", "hunter2:"])
def test_an_auth_string_that_is_none_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, credentials: str
) -> None:
    monkeypatch.setenv("FREEZE_BENCH_AUTH", credentials)

    with pytest.raises(ConfigError) as caught:
        BasicAuth.from_environment()

    assert "hunter2" not in str(caught.value)


def test_links_are_made_where_an_address_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEZE_BENCH_PUBLIC_URL", "https://bench.example.org/results/")
    assert link_results("demo") == "https://bench.example.org/results/demo/"

    monkeypatch.delenv("FREEZE_BENCH_PUBLIC_URL")
    assert link_results("demo") is None
