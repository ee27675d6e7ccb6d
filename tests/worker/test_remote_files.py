"""Remote data files: fetched whole and once, pinned by their content, and every way in which a host is not there."""

import gzip
import hashlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pytest

from data_host import DataHost, HostedFile
from s3_server import BUCKET, S3Server
from worker.contract.config import Execution, PrepareConfig, PreparedData
from worker.contract.errors import DataError, ExitCode, SourceChangedError, SourceUnreachableError
from worker.contract.plan import DataSpec
from worker.contract.store import ResultsStore
from worker.data import prepare_data
from worker.remote_files import fetch_file


def make_csv(word: str = "bear") -> bytes:
    return "".join(["text,label\n", *(f"{word} {number},{'ab'[number % 2]}\n" for number in range(40))]).encode()


CONTENT = make_csv()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[DataHost]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with DataHost({"news.csv": HostedFile(CONTENT, etag="1")}) as host:
        yield host


def prepare(source: str, cache: Path, **spec: Any) -> PreparedData:  # noqa: ANN401 - fields of DataSpec
    prepared = prepare_data(DataSpec(source=source, **spec), cache)
    assert prepared is not None
    return prepared


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_remote_file_is_the_same_data_as_a_local_one_and_is_fetched_once(tmp_path: Path, host: DataHost) -> None:
    (tmp_path / "news.csv").write_bytes(CONTENT)
    local = prepare(str(tmp_path / "news.csv"), tmp_path / "other")

    remote = [prepare(host.url("news.csv"), tmp_path / "cache") for _ in range(3)]

    assert remote == [local.model_copy(update={"source": host.url("news.csv")})] * 3
    assert remote[0].revision == hashlib.sha256(CONTENT).hexdigest()
    assert host.num_sent == 1


def test_a_remote_file_that_has_changed_is_another_data_set(tmp_path: Path, host: DataHost) -> None:
    first = prepare(host.url("news.csv"), tmp_path)
    host.files["news.csv"] = HostedFile(make_csv("wolf"), etag="2")
    second = prepare(host.url("news.csv"), tmp_path)

    assert first.digest != second.digest
    assert second.revision == hashlib.sha256(make_csv("wolf")).hexdigest()


def test_a_host_that_does_not_say_when_a_file_changes_is_read_each_time(tmp_path: Path, host: DataHost) -> None:
    host.files["news.csv"] = HostedFile(CONTENT)
    first = prepare(host.url("news.csv"), tmp_path)
    host.files["news.csv"] = HostedFile(make_csv("wolf"))

    assert prepare(host.url("news.csv"), tmp_path).digest != first.digest
    assert host.num_sent == 2


def test_looking_fetches_nothing(tmp_path: Path, host: DataHost) -> None:
    spec = DataSpec(source=host.url("news.csv"))
    assert prepare_data(spec, tmp_path, only_look=True) is None
    assert (files(tmp_path), host.num_sent) == ([], 0)

    prepared = prepare_data(spec, tmp_path)

    assert prepared is not None
    assert prepare_data(spec, tmp_path, only_look=True) == prepared


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(tmp_path: Path, host: DataHost) -> None:
    path = fetch_file(host.url("news.csv"), tmp_path)
    assert path is not None
    path.write_bytes(CONTENT[:-1])

    assert fetch_file(host.url("news.csv"), tmp_path) == path
    assert path.read_bytes() == CONTENT


def test_a_packed_file_a_query_and_a_host_without_head_are_no_hindrance(tmp_path: Path, host: DataHost) -> None:
    host.files["news.csv.gz"] = HostedFile(gzip.compress(CONTENT), refuses_head=True)

    packed = prepare(host.url("news.csv.gz?download=1"), tmp_path)

    assert packed.digest == prepare(host.url("news.csv"), tmp_path).digest


def test_own_splits_may_be_remote(tmp_path: Path, host: DataHost) -> None:
    host.files["held.csv"] = HostedFile(make_csv("wolf"), etag="1")

    data = prepare(host.url("news.csv"), tmp_path, test_source=host.url("held.csv"))

    assert data.num_examples.test == 40
    assert data.revision not in {hashlib.sha256(content).hexdigest() for content in (CONTENT, make_csv("wolf"))}


def test_a_file_system_of_another_kind_is_read_too(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/trial/news.csv", CONTENT)

    assert prepare("memory://trial/news.csv", tmp_path).revision == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_what_the_host_does_not_give_is_wrong_data(tmp_path: Path, host: DataHost, status: int) -> None:
    host.files["news.csv"] = HostedFile(CONTENT, status=status)

    with pytest.raises(DataError, match=rf"{host.url('news.csv')} cannot be read: HTTP status {status}"):
        prepare(host.url("news.csv"), tmp_path)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_host_that_is_busy_may_be_asked_again(tmp_path: Path, host: DataHost, status: int) -> None:
    host.files["news.csv"] = HostedFile(CONTENT, status=status)

    with pytest.raises(SourceUnreachableError, match=f"could not be had: HTTP status {status}") as caught:
        prepare(host.url("news.csv"), tmp_path)
    assert not caught.value.exit_code.is_permanent


class EverOther(dict[str, HostedFile]):
    """Files that somebody writes to: another version for each who asks."""

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - the base class's signature
        """Return the file as it is now."""
        file = super().get(key, default)
        self[key] = HostedFile(file.content, etag=f"{file.etag}+")
        return file


def test_a_file_that_changes_while_it_is_fetched_is_not_kept(tmp_path: Path, host: DataHost) -> None:
    host.files = EverOther(host.files)

    with pytest.raises(SourceChangedError, match=rf"{host.url('news.csv')} changed while it was fetched") as caught:
        prepare(host.url("news.csv"), tmp_path)

    assert not caught.value.exit_code.is_permanent
    assert files(tmp_path) == []


def test_half_a_file_is_never_taken_for_the_whole(tmp_path: Path, host: DataHost) -> None:
    host.files["news.csv"] = HostedFile(CONTENT, etag="1", num_sent=len(CONTENT) // 2)
    with pytest.raises(SourceUnreachableError, match="could not be had"):
        prepare(host.url("news.csv"), tmp_path)
    assert files(tmp_path) == []

    host.files["news.csv"] = HostedFile(CONTENT, etag="1")

    assert prepare(host.url("news.csv"), tmp_path).revision == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere://news.csv", "Protocol not known: nowhere"),
        ("gs://bucket/news.csv", "install gcsfs"),
        ("memory://trial/absent.csv", "absent.csv cannot be read: no such file"),
    ],
)
def test_an_address_that_cannot_be_used_is_wrong_data(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepare(source, tmp_path)


def test_a_worker_ends_with_the_code_that_says_whether_to_try_again(
    tmp_path: Path,
    host: DataHost,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    events_of: Callable[..., list[dict[str, Any]]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/news.csv"
    sources = {"found": host.url("news.csv"), "missing": host.url("absent.csv"), "nobody": nobody}
    workers = {
        name: start_worker(
            PrepareConfig(
                comparison="trial",
                name=name,
                answer=f"{name}.json",
                data=DataSpec(source=source),
                execution=Execution(results=str(tmp_path / "results"), cache=str(tmp_path / "cache")),
            ),
            name=name,
        )
        for name, source in sources.items()
    }

    codes = {name: worker.wait() for name, worker in workers.items()}

    assert codes == {"found": ExitCode.DONE, "missing": ExitCode.DATA, "nobody": ExitCode.ERROR}
    data = ResultsStore(str(tmp_path / "results")).read_record(PurePosixPath("found.json"), PreparedData)
    assert data is not None
    assert data.source == sources["found"]
    for name in ("missing", "nobody"):
        last = events_of(name)[-1]
        assert last["problem"].startswith(sources[name])
        assert "exception" not in last


def test_a_file_in_s3_is_fetched_once_and_says_whether_to_try_again(tmp_path: Path, s3_server: S3Server) -> None:
    s3_server.client().put_object(Bucket=BUCKET, Key="data/news.csv", Body=CONTENT)
    source = f"s3://{BUCKET}/data/news.csv"
    first = prepare(source, tmp_path)
    with pytest.raises(DataError, match=r"absent\.csv cannot be read: no such file"):
        prepare(f"s3://{BUCKET}/data/absent.csv", tmp_path)
    fetched = {path: path.stat().st_mtime_ns for path in files(tmp_path / "remote")}

    assert prepare(source, tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in files(tmp_path / "remote")} == fetched
    s3_server.client().put_object(Bucket=BUCKET, Key="data/news.csv", Body=make_csv("wolf"))
    assert prepare(source, tmp_path).revision == hashlib.sha256(make_csv("wolf")).hexdigest()


def test_a_worker_without_credentials_is_not_asked_again(
    tmp_path: Path,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    events_of: Callable[..., list[dict[str, Any]]],
) -> None:
    assert s3_server
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    config = PrepareConfig(
        comparison="trial",
        name="p",
        answer="p.json",
        data=DataSpec(source=f"s3://{BUCKET}/data/news.csv"),
        execution=Execution(results=str(tmp_path / "results"), cache=str(tmp_path / "cache")),
    )

    assert start_worker(config).wait() == ExitCode.DATA
    assert "AWS_ACCESS_KEY_ID" in events_of()[-1]["remedy"]
