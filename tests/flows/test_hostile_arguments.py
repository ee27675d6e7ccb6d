"""What a person may name by mistake: every command says in one message what is wrong, and leaves everything alone."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import Result

from worker.contract.errors import ConfigError
from worker.contract.store import ResultsStore

Invoke = Callable[..., Result]
NAMES = {
    "nothing": "none",
    "a folder": "folder",
    "an empty file": "empty",
    "a file of bytes": "bytes",
    "another TOML file": "other.toml",
    "no end": "/dev/zero",
    "no content": "/dev/null",
    "no name": "",
    "half a character": "\udcff",
    "a name too long": "x" * 5_000,
}
GOOD_PLAN = 'name = "good"\n[data]\nsource = "acme/news"\n[[arms]]\nbackbone = "acme/base"\nmode = "frozen"\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with what can be named in it; commands must leave it as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "other.toml").write_text('[tool]\nname = "other"\n', "utf-8")
    (tmp_path / "good.toml").write_text(GOOD_PLAN, "utf-8")
    return tmp_path


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_is_one_message(result: Result, *exit_codes: int) -> None:
    assert result.exit_code in exit_codes, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert result.stderr.strip()


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("command", ["compare", "plan"])
def test_a_plan_that_is_none_is_one_message_and_code_2(invoke: Invoke, place: Path, command: str, case: str) -> None:
    before = listing(place)

    assert_is_one_message(invoke(command, NAMES[case]), 2)

    assert listing(place) == before


@pytest.mark.parametrize("case", NAMES)
def test_a_report_of_no_results_is_one_message(invoke: Invoke, place: Path, case: str) -> None:
    before = listing(place)
    is_in_the_way = case in {"an empty file", "a file of bytes", "another TOML file", "no end", "no content"}

    assert_is_one_message(invoke("report", NAMES[case]), 1 if is_in_the_way or case == "a name too long" else 2)

    assert listing(place) == before


@pytest.mark.parametrize("results", ["", " ", "s3://", "s3:///", "foo://bar", "zip://x::none.zip", "bytes", "empty"])
@pytest.mark.parametrize("command", ["compare", "plan"])
def test_a_results_store_that_is_none_is_one_message(invoke: Invoke, place: Path, command: str, results: str) -> None:
    before = listing(place)

    refused = invoke(command, "good.toml", "--results", results)

    assert refused.exit_code == (1 if results in {"bytes", "empty"} else 2), refused.output
    assert "Traceback" not in refused.output
    assert isinstance(refused.exception, SystemExit)
    assert listing(place) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "good"}', b"\xff", bytes(1000)])
@pytest.mark.parametrize("command", ["compare", "plan"])
def test_a_torn_plan_in_the_store_is_one_message_and_stays(
    invoke: Invoke, place: Path, command: str, content: bytes
) -> None:
    store = ResultsStore(str(place / "results"))
    store.write(PurePosixPath("good/plan.json"), content)
    before = listing(place)

    refused = invoke(command, "good.toml", "--results", store.url)

    assert refused.exit_code == 1, refused.output
    problem, remedy = refused.stderr.splitlines()
    assert problem.startswith(f"{store.url}/good/plan.json is not a Plan: ")
    assert "move it away" in remedy
    assert listing(place) == before


@pytest.mark.parametrize("url", ["", "s3://", "foo://bar"])
def test_a_store_without_a_place_is_refused_when_it_is_opened(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        ResultsStore(url)


def test_the_schema_takes_no_argument(invoke: Invoke) -> None:
    assert_is_one_message(invoke("schema", "plan.toml"), 2)
