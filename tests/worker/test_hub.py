"""The hub, by workers that prepare what is published there: pinned to a commit, and fetched once."""

import socket
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hub_server import GRANTED_TOKEN, HubServer
from synthetic_news import CLASS_NAMES
from tiny_repositories import ag_news_like, make_pickle_repository, make_repository
from worker.backbone import load_body, load_tokenizer
from worker.contract.arms import BackboneSpec
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData
from worker.contract.errors import BackboneError
from worker.contract.plan import DataSpec
from worker.contract.store import ResultsStore
from worker.data import load_split

Prepare = Callable[..., subprocess.Popen[bytes]]
EventsOf = Callable[..., list[dict[str, Any]]]
BASE = BackboneSpec(source="acme/base")


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results"))


@pytest.fixture
def start(
    tmp_path: Path, hub_server: HubServer, data: PreparedData, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> Prepare:
    """Start a worker that prepares a backbone or a data set of the hub, and answers under a name."""

    def start(name: str, source: BackboneSpec | DataSpec, **client: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
        is_backbone = isinstance(source, BackboneSpec)
        config = PrepareConfig(
            comparison="trial",
            name=name,
            answer=f"{name}.json",
            data=DataSpec(source="builtin:language-names") if isinstance(source, BackboneSpec) else source,
            backbone=source if isinstance(source, BackboneSpec) else None,
            prepared_data=data if is_backbone else None,
            execution=Execution(results=str(tmp_path / "results"), cache=str(tmp_path / "cache")),
        )
        endpoint = client.pop("endpoint", hub_server.endpoint)
        environment = hub_server.environment(tmp_path / "hf", **client) | {"HF_ENDPOINT": endpoint}
        return start_worker(config, name=name, environment=environment)

    return start


def test_a_backbone_of_the_hub_is_pinned_to_its_commit_and_fetched_once(
    tmp_path: Path, hub_server: HubServer, start: Prepare, store: ResultsStore
) -> None:
    folder = make_repository(tmp_path / "published", "llama")
    (folder / "modeling_own.py").write_text("raise SystemExit('code that came with a model was run')")
    (folder / "consolidated.safetensors").write_text("The same weights for another library.")
    first_commit = hub_server.add_model("acme/base", folder)
    assert start("first", BASE).wait() == 0
    downloads = dict(hub_server.downloads)
    assert start("again", BASE).wait() == 0
    assert dict(hub_server.downloads) == downloads
    second_commit = hub_server.add_model("acme/base", make_repository(folder, "llama", seed=1))
    moved, kept = start("moved", BASE), start("kept", BackboneSpec(source="acme/base", revision=first_commit))
    assert (moved.wait(), kept.wait()) == (0, 0)
    answers = {
        name: store.read_record(PurePosixPath(f"{name}.json"), PreparedBackbone)
        for name in ("first", "again", "moved", "kept")
    }
    revisions = {name: answer.revision for name, answer in answers.items() if answer is not None}

    assert revisions == {"first": first_commit, "again": first_commit, "moved": second_commit, "kept": first_commit}
    fetched = {name for repository, name in downloads if repository == "acme/base"}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert not {"modeling_own.py", "consolidated.safetensors"} & fetched


def test_an_arm_finds_the_files_that_were_prepared_without_asking_the_hub(
    tmp_path: Path, hub_server: HubServer, start: Prepare, store: ResultsStore
) -> None:
    folder = make_repository(tmp_path / "published", "llama")
    (folder / "README.md").write_text("As every published repository has one; it is not fetched.")
    hub_server.add_model("acme/base", folder)
    assert start("base", BASE).wait() == 0
    backbone = store.read_record(PurePosixPath("base.json"), PreparedBackbone)
    assert backbone is not None
    hub_server.forget_requests()

    assert type(load_body(tmp_path / "cache", backbone, max_tokens=48)).__name__ == "LlamaModel"
    assert len(load_tokenizer(tmp_path / "cache", backbone)("Profit")["input_ids"]) > 1
    assert hub_server.requests == []


def test_a_gated_backbone_is_refused_without_a_token_and_given_with_one(
    tmp_path: Path, hub_server: HubServer, start: Prepare, events_of: EventsOf
) -> None:
    hub_server.add_model("acme/base", make_repository(tmp_path / "published", "llama"), gated=True)

    assert start("refused", BASE).wait() == 42
    assert start("given", BASE, token=GRANTED_TOKEN).wait() == 0
    words = events_of("refused")[-1]
    assert words["problem"] == "acme/base is gated, and this account has no access."
    assert "HF_TOKEN" in words["remedy"]


def test_a_backbone_that_the_hub_does_not_give_ends_with_code_42_and_says_why(
    tmp_path: Path, hub_server: HubServer, start: Prepare, events_of: EventsOf
) -> None:
    hub_server.add_model("acme/base", make_pickle_repository(tmp_path / "published"))
    files = tmp_path / "files"
    files.mkdir()
    (files / "tiny.Q8_0.gguf").write_bytes(b"GGUF")
    hub_server.add_model("acme/files", files)
    asked = {
        "unknown": (BackboneSpec(source="acme/none"), "The hub has no model 'acme/none'", "Check the spelling"),
        "pinned": (BackboneSpec(source="acme/none", revision="c" * 40), "The hub has no model 'acme/none'", "HF_TOKEN"),
        "branch": (BackboneSpec(source="acme/base", revision="v9"), "acme/base has no revision 'v9'", "commit it has"),
        "commit": (BackboneSpec(source="acme/base", revision="c" * 40), "has no revision 'cccc", "commit it has"),
        "pickle": (BASE, "publishes no safetensors weights; pickle files are never loaded", "Convert them"),
        "gguf": (BackboneSpec(source="acme/files"), "publishes no safetensors", "backbone = './tiny.Q8_0.gguf'"),
    }
    workers = {name: start(name, spec) for name, (spec, _, _) in asked.items()}
    codes = {name: worker.wait() for name, worker in workers.items()}

    assert codes == dict.fromkeys(asked, 42)
    for name, (_, problem, remedy) in asked.items():
        last = events_of(name)[-1]
        assert problem in last["problem"]
        assert remedy in last["remedy"]
        assert "exception" not in last
    fetched = {name for _, name in hub_server.downloads}
    assert not {name for name in fetched if name.endswith((".bin", ".gguf"))}


def test_a_token_that_the_hub_does_not_know_is_no_outage(start: Prepare, events_of: EventsOf) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("X-Error-Message", "Invalid credentials in Authorization header")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        worker = start("refused", BASE, endpoint=f"http://127.0.0.1:{server.server_port}", token=f"old {GRANTED_TOKEN}")
        code = worker.wait()
        server.shutdown()

    assert code == 42
    words = events_of("refused")[-1]
    assert words["problem"] == "The hub refuses to let this account read acme/base: 401 Unauthorized."
    assert "Set HF_TOKEN to a valid token" in words["remedy"]


def test_a_hub_that_does_not_answer_is_no_fault_of_the_plan(start: Prepare, events_of: EventsOf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    workers = {
        "offline": start("offline", BASE, offline=True),
        "refused": start("refused", BASE, endpoint=nobody),
        "data": start("data", DataSpec(source="acme/news"), endpoint=nobody),
    }

    assert {worker.wait() for worker in workers.values()} == {1}
    for name in workers:
        words = events_of(name)[-1]
        assert "could not be had from the hub" in words["problem"]
        assert "HF_ENDPOINT" in words["remedy"]


def test_a_data_set_of_the_hub_keeps_its_test_split_and_its_class_names(
    tmp_path: Path, hub_server: HubServer, start: Prepare, store: ResultsStore, events_of: EventsOf
) -> None:
    commit = hub_server.add_dataset("acme/news", ag_news_like(num_rows=80, seed=0))
    missing, found = start("missing", DataSpec(source="acme/none")), start("news", DataSpec(source="acme/news"))
    assert (missing.wait(), found.wait()) == (41, 0)
    data = store.read_record(PurePosixPath("news.json"), PreparedData)

    assert data is not None
    assert (data.source, data.revision, data.classes) == ("acme/news", commit, CLASS_NAMES)
    assert data.num_examples.model_dump() == {"train": 64, "validation": 16, "test": 20}
    held_out = {int(row.text.rsplit(" ", 1)[1].rstrip(".")) for row in load_split(tmp_path / "cache", data, "test")}
    assert held_out == set(range(80, 100))
    assert "The hub has no dataset 'acme/none'" in events_of("missing")[-1]["problem"]


def test_a_commit_that_was_not_fetched_is_a_backbone_error_that_names_it(tmp_path: Path) -> None:
    backbone = PreparedBackbone(kind="hub", source="acme/base", revision="c" * 40, model_type="llama")

    with pytest.raises(BackboneError, match=f"acme/base@{'c' * 40} is not in the cache"):
        load_body(tmp_path, backbone, max_tokens=48)
