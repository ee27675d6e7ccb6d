"""What a prepare worker answers about the arms of its backbone, and what ``python -m worker estimate`` prints."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hub_server import HubServer
from tiny_code import make_repository_with_code
from tiny_gguf import make_gguf
from tiny_repositories import make_repository
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData, RunConfig
from worker.contract.estimate import BackboneEstimates, EstimateRequest
from worker.contract.plan import DataSpec, TrainingSettings
from worker.contract.store import ResultsStore
from worker.prepare import prepare

REPOSITORY = Path(__file__).parents[2]
REQUEST = EstimateRequest(
    modes=(Mode.LIVE, Mode.FROZEN), seeds=(0, 1), training=TrainingSettings(steps=4, warmup_steps=1, max_tokens=48)
)

MakeConfig = Callable[..., PrepareConfig]


@pytest.fixture
def ask(tmp_path: Path, cache: Path, data_spec: DataSpec) -> MakeConfig:
    """The document of a worker that is asked about a backbone's arms."""

    def make(source: str, data: PreparedData | None, cache: Path = cache, **values: Any) -> PrepareConfig:  # noqa: ANN401 - fields of PrepareConfig
        spec = BackboneSpec(source=source, allow_code=values.pop("allow_code", False))
        execution = Execution(results=str(tmp_path / "results"), cache=str(cache), device="cpu", num_threads=1)
        about: Mapping[str, Any] = {"estimate": REQUEST, "prepared_data": data, "backbone": spec} | values
        return PrepareConfig(
            comparison="trial", name="p", answer="trial/p.json", data=data_spec, execution=execution, **about
        )

    return make


@pytest.fixture
def answer_of(tmp_path: Path) -> Callable[[PrepareConfig], BackboneEstimates]:
    def read(config: PrepareConfig) -> BackboneEstimates:
        record = ResultsStore(str(tmp_path / "results")).read_record(
            PurePosixPath(config.estimates_answer), BackboneEstimates
        )
        assert record is not None
        return record

    return read


def test_whoever_prepares_a_backbone_also_says_what_its_arms_need(
    ask: MakeConfig,
    answer_of: Callable[[PrepareConfig], BackboneEstimates],
    tmp_path: Path,
    data: PreparedData,
    backbone: PreparedBackbone,
) -> None:
    config = ask(backbone.source, data)
    prepare(config)
    estimates = answer_of(config)
    live, frozen = estimates.arms

    assert ResultsStore(str(tmp_path / "results")).read_record(PurePosixPath(config.answer), PreparedBackbone) == (
        backbone
    )
    assert (live.mode, frozen.mode) == (Mode.LIVE, Mode.FROZEN)
    assert live.lengths == frozen.lengths == "tokens"
    assert frozen.num_trained_parameters == (32 + 1) * len(data.classes)
    assert live.num_trained_parameters == live.num_parameters + frozen.num_trained_parameters
    assert estimates.machine is None


def test_nobody_is_told_who_has_not_asked(
    ask: MakeConfig, tmp_path: Path, data: PreparedData, backbone: PreparedBackbone
) -> None:
    prepare(ask(backbone.source, data, estimate=None))

    assert [path.name for path in (tmp_path / "results" / "trial").iterdir()] == ["p.json"]


def test_the_machine_is_looked_at_where_that_is_asked(
    ask: MakeConfig,
    answer_of: Callable[[PrepareConfig], BackboneEstimates],
    data: PreparedData,
    backbone: PreparedBackbone,
) -> None:
    config = ask(backbone.source, data, estimate=REQUEST.model_copy(update={"measure_machine": True}), only_look=True)
    prepare(config)
    machine = answer_of(config).machine

    assert machine is not None
    assert machine.device == "cpu"
    assert machine.memory_bytes <= int(Path("/proc/meminfo").read_text("ascii").split()[1]) * 1024
    assert machine.flops_per_second > 1e8


def test_what_is_not_prepared_is_estimated_of_its_recipe_and_the_plans_numbers(
    ask: MakeConfig, answer_of: Callable[[PrepareConfig], BackboneEstimates], tmp_path: Path
) -> None:
    config = ask("tiny:qwen3", None, tmp_path / "empty", only_look=True)
    prepare(config)
    live, frozen = answer_of(config).arms

    assert live.lengths == frozen.lengths == "max_tokens"
    assert live.largest_batch.num_tokens == 48
    assert 185_000 < frozen.num_parameters < 195_000
    assert not (tmp_path / "empty").exists()


def test_a_file_that_nobody_has_prepared_says_that_it_must_be(
    ask: MakeConfig, answer_of: Callable[[PrepareConfig], BackboneEstimates], tmp_path: Path, data: PreparedData
) -> None:
    file = make_gguf(tmp_path / "llama.gguf", make_repository(tmp_path / "llama", "llama", seed=41))
    config = ask(str(file), data, only_look=True)
    prepare(config)
    estimates = answer_of(config)

    assert estimates.arms == ()
    assert estimates.problem == (
        f"How large {file} is, is known when it is prepared. Run the comparison, then ask again."
    )


def test_a_prepared_file_is_estimated_like_the_model_in_it(
    ask: MakeConfig, answer_of: Callable[[PrepareConfig], BackboneEstimates], tmp_path: Path, data: PreparedData
) -> None:
    folder = make_repository(tmp_path / "llama", "llama")
    estimates = []
    for source in (folder, make_gguf(tmp_path / "llama.gguf", folder)):
        config = ask(str(source), data)
        prepare(config)
        estimates.append(answer_of(config))

    assert estimates[0].arms[1].num_parameters == estimates[1].arms[1].num_parameters
    assert estimates[0].arms[1].memory.activations == estimates[1].arms[1].memory.activations


def test_code_that_comes_with_a_model_is_run_only_where_its_arm_allows_it(
    ask: MakeConfig,
    answer_of: Callable[[PrepareConfig], BackboneEstimates],
    tmp_path: Path,
    data: PreparedData,
    start_worker: Callable[..., subprocess.Popen[bytes]],
) -> None:
    config = ask(str(make_repository_with_code(tmp_path / "acme")), data, allow_code=True)

    assert start_worker(config, environment=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}).wait() == 0
    assert answer_of(config).problem is None
    assert answer_of(config).arms[1].num_parameters > 0


def test_a_model_that_looks_at_its_numbers_is_not_estimated_and_says_so(
    ask: MakeConfig,
    answer_of: Callable[[PrepareConfig], BackboneEstimates],
    tmp_path: Path,
    data: PreparedData,
    start_worker: Callable[..., subprocess.Popen[bytes]],
) -> None:
    folder = make_repository_with_code(tmp_path / "acme")
    code = folder / "modeling_acme.py"
    text = code.read_text("utf-8")
    assert "def forward" in text
    head, _, body = text.partition("def forward")
    signature, _, rest = body.partition(":\n")
    code.write_text(f"{head}def forward{signature}:\n        float(next(self.parameters()).sum())\n{rest}", "utf-8")
    config = ask(str(folder), data, allow_code=True)

    assert start_worker(config, environment=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules")}).wait() == 0
    assert answer_of(config).arms == ()
    assert "cannot be estimated: DataDependentOutputException" in str(answer_of(config).problem)


def test_of_the_hub_nothing_but_the_configuration_is_fetched_and_it_is_not_kept(
    ask: MakeConfig,
    answer_of: Callable[[PrepareConfig], BackboneEstimates],
    tmp_path: Path,
    hub_server: HubServer,
    data: PreparedData,
    start_worker: Callable[..., subprocess.Popen[bytes]],
) -> None:
    hub_server.add_model("acme/base", make_repository(tmp_path / "published", "llama"))
    environment = hub_server.environment(tmp_path / "hf") | {"HF_ENDPOINT": hub_server.endpoint}
    config = ask("acme/base", data, tmp_path / "empty", only_look=True)

    assert start_worker(config, environment=environment).wait() == 0
    assert answer_of(config).of(Mode.LIVE) is not None
    assert {name for repository, name in hub_server.downloads if repository == "acme/base"} == {"config.json"}
    assert not list((tmp_path / "empty").rglob("config.json"))


def test_a_backbone_that_the_hub_does_not_give_is_a_problem_with_a_remedy(
    ask: MakeConfig,
    answer_of: Callable[[PrepareConfig], BackboneEstimates],
    tmp_path: Path,
    hub_server: HubServer,
    start_worker: Callable[..., subprocess.Popen[bytes]],
) -> None:
    environment = hub_server.environment(tmp_path / "hf") | {"HF_ENDPOINT": hub_server.endpoint}
    config = ask("acme/none", None, tmp_path / "empty", only_look=True)

    assert start_worker(config, environment=environment).wait() == 0
    assert str(answer_of(config).problem).startswith("The hub has no model 'acme/none', or it is private. Check the")


def run_estimate(document: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "worker", "estimate", "/dev/stdin"]
    return subprocess.run(command, input=document, capture_output=True, text=True, check=False, cwd=REPOSITORY)


def test_the_command_prints_one_json_object_and_nothing_else(make_config: Callable[..., RunConfig]) -> None:
    ended = run_estimate(make_config(Mode.LIVE).model_dump_json())
    estimates = BackboneEstimates.model_validate_json(ended.stdout)

    assert ended.returncode == 0, ended.stderr
    assert [arm.mode for arm in estimates.arms] == [Mode.LIVE]
    assert estimates.machine is not None


def test_the_command_says_on_the_other_output_what_went_wrong(ask: MakeConfig, data: PreparedData) -> None:
    ended = run_estimate(ask("tiny:qwen3", data).model_dump_json())

    assert (ended.returncode, ended.stdout) == (40, "")
    assert json.loads(ended.stderr.splitlines()[-1])["remedy"] == "Give the document of an arm, of kind run."
