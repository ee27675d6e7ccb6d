"""The stand-in hub against the real clients, each in a process of its own."""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hub_server import GRANTED_TOKEN, HubServer
from tiny_repositories import ag_news_like, make_pickle_repository, make_repository

CLIENTS = Path(__file__).parent / "hub_clients"


def run_client(name: str, *arguments: str, environment: dict[str, str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the answer of one of ``hub_clients``."""
    command = [sys.executable, str(CLIENTS / f"{name}.py"), *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def get(server: HubServer, path: str, *, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Return one answer, redirects not followed."""
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_clients_use_a_model_and_a_data_set_once_fetched_and_then_offline(
    hub_server: HubServer, tmp_path: Path
) -> None:
    """Everything is fetched once; offline everything is there and nothing is asked."""
    folder = make_repository(tmp_path / "model", "mistral")
    files = ag_news_like(num_rows=40, seed=0)
    model_commit = hub_server.add_model("acme/tiny", folder)
    dataset_commit = hub_server.add_dataset("acme/news", files)
    arguments = ("use", "acme/tiny", model_commit, str(folder), "acme/news", dataset_commit)

    online = run_client(*arguments, environment=hub_server.environment(tmp_path / "hf"))
    expected = {("acme/tiny", path.name): 1 for path in folder.iterdir()} | {("acme/news", path): 1 for path in files}
    assert hub_server.downloads == expected

    hub_server.forget_requests()
    offline = run_client(*arguments, environment=hub_server.environment(tmp_path / "hf", offline=True))
    assert hub_server.requests == []

    assert offline == online
    assert {Path(snapshot).name for snapshot in online["snapshots"]} == {model_commit}
    assert online["features"] == online["local_features"]
    assert online["class_names"] == ["World", "Sports", "Business", "Sci/Tech"]
    assert online["num_rows"] == {"train": 40, "test": 10}


def test_clients_see_descriptions_listings_and_refusals(hub_server: HubServer, tmp_path: Path) -> None:
    folder = make_pickle_repository(tmp_path / "model")
    model_commit = hub_server.add_model("acme/pickle", folder)
    hub_server.add_model("acme/gated", folder, gated=True)
    dataset_commit = hub_server.add_dataset("acme/news", ag_news_like(num_rows=8, seed=0))

    environment = hub_server.environment(tmp_path / "hf")
    seen = run_client("look", "acme/pickle", "acme/gated", "acme/news", GRANTED_TOKEN, environment=environment)

    parquet = ["data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]
    assert seen == {
        "model_sha": model_commit,
        "dataset_sha": dataset_commit,
        "is_gated": [False, True],
        "sizes": {path.name: path.stat().st_size for path in folder.iterdir()},
        "top": ["README.md", "data"],
        "below": parquet,
        "files": ["README.md", *parquet],
        "known_paths": ["config.json"],
        "part": "PAR1",
        "granted": sorted(path.name for path in folder.iterdir()),
        "refusals": {
            "gated": "401 GatedRepoError",
            "gated, token": "403 GatedRepoError",
            "unknown": "401 RepositoryNotFoundError",
            "unknown, info": "401 RepositoryNotFoundError",
            "unknown, token": "404 RepositoryNotFoundError",
            "unknown branch": "404 RevisionNotFoundError",
            "unknown branch, info": "404 RevisionNotFoundError",
            "unknown commit": "404 RevisionNotFoundError",
            "unknown file": "404 RemoteEntryNotFoundError",
        },
    }


def test_a_moved_branch_keeps_the_old_commit(hub_server: HubServer) -> None:
    first = hub_server.add_dataset("acme/news", {"README.md": b"first"})
    second = hub_server.add_dataset("acme/news", {"README.md": b"second"})

    assert first != second
    bodies = {
        name: get(hub_server, f"/datasets/acme/news/resolve/{name}/README.md")[1] for name in (first, second, "main")
    }
    assert bodies == {first: b"first", second: b"second", "main": b"second"}
    assert hub_server.downloads == {("acme/news", "README.md"): 3}


def test_equal_content_has_the_same_commit() -> None:
    commits = set()
    for _ in range(2):
        with HubServer() as server:
            commits.add(server.add_dataset("acme/news", ag_news_like(num_rows=8, seed=3)))
    assert len(commits) == 1


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "body"),
    [
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=5-99", 206, "bytes 5-9/10", b"56789"),
        ("bytes=10-", 416, "bytes */10", b""),
    ],
)
def test_part_of_a_file(hub_server: HubServer, asked: str, status: int, content_range: str, body: bytes) -> None:
    hub_server.add_dataset("acme/digits", {"digits.txt": b"0123456789"})

    response, content = get(hub_server, "/datasets/acme/digits/resolve/main/digits.txt", Range=asked)

    assert (response.status, response.getheader("Content-Range"), content) == (status, content_range, body)


def test_large_file_is_redirected_to_storage_that_takes_no_token(hub_server: HubServer) -> None:
    commit = hub_server.add_dataset("acme/news", {"data.parquet": b"PAR1"})

    response, _ = get(hub_server, "/datasets/acme/news/resolve/main/data.parquet", method="HEAD")
    storage = urlsplit(response.getheader("Location") or "")

    assert response.status == http.client.FOUND
    assert response.getheader("X-Repo-Commit") == commit
    assert response.getheader("X-Linked-Size") == "4"
    assert storage.netloc != urlsplit(hub_server.endpoint).netloc
    connection = http.client.HTTPConnection(storage.netloc)
    connection.request("GET", storage.path, headers={"Authorization": f"Bearer {GRANTED_TOKEN}"})
    assert connection.getresponse().status == http.client.BAD_REQUEST
    connection.close()
