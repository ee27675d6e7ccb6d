"""Code that comes with a model: not run, unless its arm allows it and what it is is pinned."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hub_server import HubServer
from tiny_code import WIDTH, make_repository_with_code
from tiny_repositories import make_repository
from worker.backbone import load_body, load_tokenizer, prepare_backbone
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PrepareConfig, PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import BackboneError
from worker.contract.plan import DataSpec
from worker.contract.store import ResultsStore

Prepare = Callable[..., PreparedBackbone]


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers copy code into this test's folder, not into the user's cache."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))


@pytest.fixture
def prepare(data: PreparedData, cache: Path) -> Prepare:
    def prepare(folder: Path, *, allow_code: bool = True) -> PreparedBackbone:
        prepared = prepare_backbone(BackboneSpec(source=str(folder), allow_code=allow_code), data, cache)
        assert prepared is not None
        return prepared

    return prepare


def name_code(folder: Path, name: str) -> None:
    """Let config.json name the class of the model in another place."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": name}}), "utf-8")


def feature(body: nn.Module) -> list[float]:
    with torch.inference_mode():
        hidden: list[float] = body(torch.tensor([[7]])).last_hidden_state.flatten().tolist()
    return hidden


def test_code_is_not_run_unless_the_arm_allows_it(tmp_path: Path, prepare: Prepare) -> None:
    folder = make_repository_with_code(tmp_path / "acme")
    for name in ("configuration_acme.py", "modeling_acme.py"):
        (folder / name).write_text("raise SystemExit('run although nobody allowed it')", "utf-8")

    with pytest.raises(BackboneError) as caught:
        prepare(folder, allow_code=False)
    assert caught.value.problem == (
        f"{folder} can only be loaded by code of its own (configuration_acme.AcmeConfig, modeling_acme.AcmeModel), "
        "and code is not run unless its arm allows it."
    )
    assert caught.value.remedy == "Read that code; to run it, write allow_code = true in the arm."


def test_allowed_code_of_a_folder_loads_the_model_and_is_part_of_what_pins_it(
    tmp_path: Path, prepare: Prepare, cache: Path
) -> None:
    folder = make_repository_with_code(tmp_path / "acme")
    first = prepare(folder)
    row = load_file(folder / "model.safetensors")["embed.weight"][7]
    body = load_body(cache, first, 48)
    other = make_repository_with_code(tmp_path / "other", scale=2.0)

    assert (first.model_type, first.own_code) == ("acme", ("model",))
    assert feature(body) == row.tolist()
    assert len(load_tokenizer(cache, first)("Profit")["input_ids"]) > 1
    assert prepare(other).revision != first.revision
    assert feature(load_body(cache, prepare(other), 48)) == (2 * row).tolist()
    make_repository_with_code(folder, scale=3.0)
    assert prepare(folder).revision != first.revision


def test_code_that_transformers_does_not_need_is_not_run_even_if_it_is_allowed(
    tmp_path: Path, prepare: Prepare, cache: Path
) -> None:
    folder = make_repository(tmp_path / "llama", "llama")
    plain = prepare(folder, allow_code=False)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "own.Own"}}), "utf-8")
    (folder / "own.py").write_text("raise SystemExit('run although transformers has a class')", "utf-8")
    allowed, refused = prepare(folder), prepare(folder, allow_code=False)

    assert allowed == refused
    assert (allowed.own_code, allowed.model_type) == ((), plain.model_type)
    assert type(load_body(cache, allowed, 48)).__name__ == "LlamaModel"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: make_repository_with_code(folder, elsewhere="acme/code"),
            "acme/code--.* in another repository",
        ),
        (lambda folder: (folder / "modeling_acme.py").unlink(), r"lacks modeling_acme\.py"),
        (lambda folder: name_code(folder, "code/modeling_acme.AcmeModel"), "'code/modeling_acme.py', which is no file"),
        (lambda folder: name_code(folder, "..\\modeling_acme.AcmeModel"), "which is no file beside config.json"),
    ],
    ids=["elsewhere", "missing", "below", "above"],
)
def test_code_that_is_not_in_the_folder_is_refused(
    spoil: Callable[[Path], object], said: str, tmp_path: Path, prepare: Prepare
) -> None:
    folder = make_repository_with_code(tmp_path / "acme")
    spoil(folder)

    with pytest.raises(BackboneError, match=said):
        prepare(folder)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import package_that_nobody_has\n", "package_that_nobody_has"),
        ("AcmeModel = 1 +\n", "SyntaxError"),
        ("raise ZeroDivisionError('on import')\n", "ZeroDivisionError: on import"),
    ],
    ids=["missing package", "no Python", "fails"],
)
def test_code_that_fails_is_a_backbone_error_that_says_how(
    code: str, said: str, tmp_path: Path, prepare: Prepare, cache: Path
) -> None:
    folder = make_repository_with_code(tmp_path / "acme")
    (folder / "modeling_acme.py").write_text(code, "utf-8")

    with pytest.raises(BackboneError, match=said):
        load_body(cache, prepare(folder), 48)


def test_what_was_found_with_another_transformers_is_looked_for_again(
    tmp_path: Path, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "c" * 40
    folder = tmp_path / "hub/models--acme--own/snapshots" / commit
    make_repository_with_code(folder)
    spec = BackboneSpec(source="acme/own", revision=commit, allow_code=True)
    monkeypatch.setattr("worker.backbone.fetch_model", lambda *_, **__: folder)  # as if fetched from the hub
    prepared = prepare_backbone(spec, data, tmp_path)
    assert prepared is not None
    assert prepare_backbone(spec, data, tmp_path, only_look=True) == prepared

    monkeypatch.setattr("worker.backbone.version", lambda _: "of tomorrow")
    assert prepare_backbone(spec, data, tmp_path, only_look=True) is None


@pytest.mark.full
def test_code_of_the_hub_is_run_offline_at_the_commit_that_was_read(
    tmp_path: Path,
    hub_server: HubServer,
    cache: Path,
    make_config: Callable[..., RunConfig],
    start_worker: Callable[..., subprocess.Popen[bytes]],
    events_of: Callable[..., list[dict[str, Any]]],
) -> None:
    commit = hub_server.add_model("acme/own", make_repository_with_code(tmp_path / "published"))
    own_cache = tmp_path / "cache"
    own_cache.mkdir()
    (own_cache / "data").symlink_to(cache / "data")
    config = make_config(Mode.FROZEN, execution={"cache": str(own_cache)})

    def work(name: str, *, offline: bool = False, **how: Any) -> int:  # noqa: ANN401 - fields of a config
        document = (
            PrepareConfig(
                comparison="trial",
                name=name,
                answer=f"{name}.json",
                data=DataSpec(source="builtin:language-names"),
                backbone=BackboneSpec(source="acme/own", **how),
                prepared_data=config.data,
                execution=config.execution,
            )
            if how
            else config
        )
        environment = hub_server.environment(tmp_path / "hf", offline=offline)
        return start_worker(document, name=name, environment=environment).wait()

    assert work("refused", revision="main") == 42
    assert events_of("refused")[-1]["remedy"] == (
        f'Read that code; to run it, write allow_code = true and revision = "{commit}" in the arm.'
    )
    assert not any(name.endswith(".py") for _, name in hub_server.downloads)
    assert work("allowed", revision=commit, allow_code=True) == 0
    prepared = ResultsStore(config.execution.results).read_record(PurePosixPath("allowed.json"), PreparedBackbone)
    assert prepared is not None
    assert (prepared.revision, prepared.own_code) == (commit, ("model",))
    config = config.model_copy(update={"backbone": prepared})
    hub_server.forget_requests()

    assert work("arm", offline=True) == 0
    assert hub_server.requests == []
    assert events_of("arm")[-1]["event"] == "done"
    features = load_file(next((own_cache / "features").rglob("train.safetensors")))
    assert features["values_ND"].shape[1] == WIDTH
