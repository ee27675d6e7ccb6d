"""The reference comparison from end to end: the real command and plans/seed.toml as it stands, against a stand-in hub.

The hub serves a tiny repository of the right architecture under every id that the plan names, with the gates and shards
of the real ones, and with files that no arm needs. Three runs share one store and one cache, as a person's would:

1. without an access token, so that the gated repositories refuse;
2. with the token that they ask for;
3. after one repository's branch has moved, with that arm and one more.
"""

import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
import torch

from flows.comparison import Comparison
from flows.status import read_status
from hub_server import GRANTED_TOKEN, HubServer, Request
from synthetic_news import CLASS_NAMES
from tiny_repositories import ag_news_like, make_repository
from worker.contract.errors import ExitCode
from worker.contract.records import slug
from worker.contract.results import ArmState, ArmStatus, RunResult
from worker.contract.store import ResultsStore, RunRecords

REPOSITORY = Path(__file__).parents[1]
PLAN = REPOSITORY / "plans" / "seed.toml"
COMPARISON = "seed"

DATASET = "fancyzhx/ag_news"
QWEN3, LLAMA, MISTRAL = "Qwen/Qwen3-1.7B-Base", "meta-llama/Llama-3.2-1B", "mistralai/Mistral-7B-v0.3"
SMOLLM3, GEMMA3, QWEN2 = "HuggingFaceTB/SmolLM3-3B-Base", "google/gemma-3-1b-pt", "Qwen/Qwen2.5-1.5B"
ARCHITECTURES = {
    QWEN3: "qwen3",
    LLAMA: "llama",
    MISTRAL: "mistral",
    SMOLLM3: "smollm3",
    GEMMA3: "gemma3",
    QWEN2: "qwen2",
}
MODEL_TYPES = {**ARCHITECTURES, GEMMA3: "gemma3_text"}

BACKBONES = {
    "Live Qwen3": QWEN3,
    "Frozen Qwen3": QWEN3,
    "Frozen Llama3.2": LLAMA,
    "Frozen Mistral": MISTRAL,
    "Frozen SmolLM3": SMOLLM3,
    "Frozen Gemma3": GEMMA3,
    "Frozen Qwen2.5": QWEN2,
}
GATED = frozenset({LLAMA, GEMMA3})
GATED_ARMS = {label for label, source in BACKBONES.items() if source in GATED}
MOVED_ARM, OTHER_ARM = "Frozen Qwen2.5", "Frozen SmolLM3"

MISTRAL_SHARD_BYTES = 20_000
CONSOLIDATED = "consolidated.safetensors"
"""Mistral's weights once more, under the names of its makers' own code: 14.5 GB that transformers never reads."""
ORIGINAL = ("original/consolidated.00.pth", "original/params.json")
"""Llama's weights once more, as a pickle, and what its makers' own code reads beside them."""

SETTINGS = (
    "seeds=[0]",
    "training.steps=6",
    "training.head_lr=[1e-3,1e-2]",
    "training.backbone_lr=[1e-4]",
    "data.train_examples=64",
    "data.validation_examples=24",
    "data.test_examples=24",
)
"""The plan's own are for GPUs and hours."""


@dataclass(frozen=True)
class Ran:
    """One run of the command: how it ended, what it asked of the hub, and what the store held afterwards."""

    exit_code: int
    output: str
    requests: list[Request]
    downloads: Counter[tuple[str, str]]
    comparison: Comparison
    charts: dict[str, bytes]
    results: dict[str, RunResult]
    """By label, of the arms that have one."""
    statuses: dict[str, ArmStatus]
    """By label."""

    def arms_in(self, state: ArmState) -> set[str]:
        """Return the labels of the arms that ended in a state."""
        return {label for label, status in self.statuses.items() if status.state is state}

    def requests_about(self, repo_id: str) -> list[Request]:
        """Return what was asked about one repository."""
        return [request for request in self.requests if f"/{repo_id}" in request.path]


@dataclass(frozen=True)
class Bench:
    """A hub, and a machine on which the command is run again and again."""

    hub: HubServer
    folder: Path
    commits: Mapping[str, str]
    """Of every repository, as first published."""

    def compare(self, plan: Path, token: str | None) -> Ran:
        """Run a plan named seed, and read what there is to be read before anything else happens."""
        self.hub.forget_requests()
        command = [str(Path(sys.executable).with_name("freeze-bench")), "compare", str(plan), "--device", "cpu"]
        command += [part for setting in SETTINGS for part in ("--set", setting)]
        command += ["--results", str(self.folder / "results"), "--cache", str(self.folder / "cache")]
        process = subprocess.run(
            command, cwd=REPOSITORY, env=self._environment(token), capture_output=True, text=True, check=False
        )
        output = process.stdout + process.stderr
        store = ResultsStore(str(self.folder / "results"))
        comparison = store.read_record(PurePosixPath(COMPARISON, "comparison.json"), Comparison)
        assert comparison is not None, output
        folders = {label: slug(label) for label in comparison.labels}
        results = {label: RunRecords(store, COMPARISON, folder, 0).read_result() for label, folder in folders.items()}
        statuses = {label: read_status(store, COMPARISON, folder) for label, folder in folders.items()}
        charts = {name: store.read(PurePosixPath(COMPARISON, name)) for name in ("comparison.png", "comparison.svg")}
        return Ran(
            exit_code=process.returncode,
            output=output,
            requests=self.hub.requests,
            downloads=self.hub.downloads,
            comparison=comparison,
            charts={name: content for name, content in charts.items() if content},
            results={label: result for label, result in results.items() if result},
            statuses={label: status for label, status in statuses.items() if status},
        )

    def _environment(self, token: str | None) -> dict[str, str]:
        foreign = ("PREFECT_", "FREEZE_BENCH_")
        environment = {
            name: value
            for name, value in self.hub.environment(self.folder / "hf", token=token).items()
            if not name.startswith(foreign)
        }
        environment["PREFECT_HOME"] = str(self.folder / "prefect")
        return environment


def make_published_repository(folder: Path, repo_id: str, *, seed: int = 0) -> Path:
    """Write a tiny repository with what lies in the real one, needed or not."""
    shard_bytes = MISTRAL_SHARD_BYTES if repo_id == MISTRAL else 5_000_000_000
    make_repository(folder, ARCHITECTURES[repo_id], seed=seed, dtype=torch.bfloat16, max_shard_bytes=shard_bytes)
    (folder / "README.md").write_text("# Tiny stand-in\n", "utf-8")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n", "utf-8")
    if repo_id == MISTRAL:
        (folder / CONSOLIDATED).write_bytes(b"never read")
    if repo_id == LLAMA:
        (folder / "original").mkdir()
        for name in ORIGINAL:
            (folder / name).write_bytes(b"never read")
    return folder


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("reference")
    with HubServer() as hub:
        commits = {DATASET: hub.add_dataset(DATASET, ag_news_like(num_rows=160, seed=0))}
        for repo_id, architecture in ARCHITECTURES.items():
            published = make_published_repository(folder / "published" / architecture, repo_id)
            commits[repo_id] = hub.add_model(repo_id, published, gated=repo_id in GATED)
        yield Bench(hub, folder, commits)


@pytest.fixture(scope="module")
def without_token(bench: Bench) -> Ran:
    return bench.compare(PLAN, token=None)


@pytest.fixture(scope="module")
def with_token(bench: Bench, without_token: Ran) -> Ran:
    del without_token  # comes first: its results are reused
    return bench.compare(PLAN, token=GRANTED_TOKEN)


@pytest.fixture(scope="module")
def moved_commit(bench: Bench, with_token: Ran) -> str:
    """Put other weights on the main branch of one repository."""
    del with_token  # comes first: its results are reused
    return bench.hub.add_model(QWEN2, make_published_repository(bench.folder / "moved", QWEN2, seed=1))


@pytest.fixture(scope="module")
def after_move(bench: Bench, moved_commit: str) -> Ran:
    del moved_commit  # comes first
    head, *arms = PLAN.read_text("utf-8").split("[[arms]]")
    kept = [arm for arm in arms if f'"{MOVED_ARM}"' in arm or f'"{OTHER_ARM}"' in arm]
    plan = bench.folder / "seed.toml"
    plan.write_text("[[arms]]".join([head, *kept]), "utf-8")
    return bench.compare(plan, token=GRANTED_TOKEN)


def test_hub_holds_what_the_plan_names() -> None:
    plan = tomllib.loads(PLAN.read_text("utf-8"))

    assert {arm["label"]: arm["backbone"] for arm in plan["arms"]} == BACKBONES
    assert plan["data"]["source"] == DATASET


def test_gated_arms_fail_without_a_token_and_the_others_finish(without_token: Ran) -> None:
    assert without_token.exit_code == 1, without_token.output
    assert without_token.arms_in(ArmState.FAILED) == GATED_ARMS
    assert without_token.arms_in(ArmState.DONE) == BACKBONES.keys() - GATED_ARMS
    assert without_token.results.keys() == BACKBONES.keys() - GATED_ARMS
    assert {arm.label for arm in without_token.comparison.missing} == GATED_ARMS
    assert without_token.charts.keys() == {"comparison.png", "comparison.svg"}


def test_failure_of_a_gated_arm_says_what_to_do(without_token: Ran) -> None:
    for label in GATED_ARMS:
        failure = without_token.statuses[label].failure
        assert failure is not None
        assert failure.exit_code == ExitCode.BACKBONE
        assert failure.problem.startswith(f"{BACKBONES[label]} is gated")
        assert "Accept its terms" in failure.remedy
        assert "HF_TOKEN" in failure.remedy
        assert failure.problem in without_token.output


def test_command_says_what_to_do_about_a_gated_arm(without_token: Ran) -> None:
    assert "Accept its terms" in without_token.output
    assert "HF_TOKEN" in without_token.output


def test_token_completes_the_comparison_and_what_was_done_is_reused(with_token: Ran) -> None:
    assert with_token.exit_code == 0, with_token.output
    assert with_token.arms_in(ArmState.DONE) == GATED_ARMS
    assert with_token.arms_in(ArmState.REUSED) == BACKBONES.keys() - GATED_ARMS
    assert with_token.comparison.labels == tuple(BACKBONES)
    assert with_token.comparison.missing == ()
    assert [len(arm.points) for arm in with_token.comparison.arms] == [7] * 7


def test_results_name_the_commits_that_the_hub_gave_out(bench: Bench, with_token: Ran) -> None:
    assert with_token.results.keys() == BACKBONES.keys()
    for label, result in with_token.results.items():
        source = BACKBONES[label]
        assert (result.backbone.source, result.backbone.revision) == (source, bench.commits[source])
        assert result.backbone.model_type == MODEL_TYPES[source]
        assert (result.data_source, result.data_revision) == (DATASET, bench.commits[DATASET])


def test_class_names_of_the_data_set_are_kept(with_token: Ran) -> None:
    assert {result.classes for result in with_token.results.values()} == {CLASS_NAMES}
    assert with_token.comparison.data.classes == CLASS_NAMES


def test_frozen_backbones_stay_and_the_live_one_moves(with_token: Ran) -> None:
    proofs = {label: result.proof for label, result in with_token.results.items()}
    moved = {label for label, proof in proofs.items() if proof.weights_hash_before != proof.weights_hash_after}

    assert moved == {"Live Qwen3"}
    assert proofs["Live Qwen3"].weights_hash_before == proofs["Frozen Qwen3"].weights_hash_before


def test_chart_names_every_arm(with_token: Ran) -> None:
    assert with_token.charts["comparison.png"].startswith(b"\x89PNG")
    drawing = with_token.charts["comparison.svg"].decode()
    assert drawing.rstrip().endswith("</svg>")
    assert [label for label in BACKBONES if label not in drawing] == []


def test_every_file_is_downloaded_once_whatever_number_of_arms_and_runs_need_it(
    bench: Bench, without_token: Ran, with_token: Ran
) -> None:
    downloads = without_token.downloads + with_token.downloads
    weights = {
        (repo_id, path.name)
        for repo_id, architecture in ARCHITECTURES.items()
        for path in (bench.folder / "published" / architecture).glob("model*.safetensors")
    }

    assert len(weights) > len(ARCHITECTURES)  # Mistral has several
    assert weights <= downloads.keys()
    assert (DATASET, "data/train-00000-of-00001.parquet") in downloads
    assert set(downloads.values()) == {1}
    assert [path for _, path in downloads if path.endswith((".pth", ".bin", ".pt", ".py"))] == []


def test_what_transformers_never_reads_is_not_downloaded(without_token: Ran, with_token: Ran) -> None:
    downloads = without_token.downloads + with_token.downloads

    assert (MISTRAL, CONSOLIDATED) not in downloads
    assert {(LLAMA, name) for name in ORIGINAL}.isdisjoint(downloads)


def test_hub_is_asked_by_the_prepare_step_alone(without_token: Ran, with_token: Ran) -> None:
    """Each request is made once: an arm that asked as well would repeat some, or ask for files that are optional."""
    asked = {repo_id: without_token.requests_about(repo_id) for repo_id in {*ARCHITECTURES, DATASET} - GATED}
    asked |= {repo_id: with_token.requests_about(repo_id) for repo_id in GATED}
    for repo_id, requests in asked.items():
        assert requests, repo_id
        assert {request.status for request in requests} <= {200, 302}
        assert [request for request, count in Counter(requests).items() if count > 1] == []


def test_token_is_written_nowhere(bench: Bench, with_token: Ran) -> None:
    assert GRANTED_TOKEN not in with_token.output
    files = [path for path in bench.folder.rglob("*") if path.is_file()]
    assert [path for path in files if GRANTED_TOKEN.encode() in path.read_bytes()] == []


def test_later_runs_ask_for_nothing_but_commits(with_token: Ran, after_move: Ran) -> None:
    for ran, unchanged in ((with_token, ARCHITECTURES.keys() - GATED), (after_move, {SMOLLM3})):
        for repo_id in unchanged:
            assert {request.path for request in ran.requests_about(repo_id)} == {f"/api/models/{repo_id}"}
        assert {request.path for request in ran.requests_about(DATASET)} == {f"/api/datasets/{DATASET}"}


def test_moved_branch_runs_its_arm_again_and_no_other(
    bench: Bench, with_token: Ran, moved_commit: str, after_move: Ran
) -> None:
    before, after = with_token.results[MOVED_ARM], after_move.results[MOVED_ARM]

    assert after_move.exit_code == 0, after_move.output
    assert moved_commit != bench.commits[QWEN2]
    assert (before.backbone.revision, after.backbone.revision) == (bench.commits[QWEN2], moved_commit)
    assert after.proof.weights_hash_before != before.proof.weights_hash_before
    assert after_move.arms_in(ArmState.DONE) == {MOVED_ARM}
    assert after_move.arms_in(ArmState.REUSED) == {OTHER_ARM}
    assert after_move.results[OTHER_ARM] == with_token.results[OTHER_ARM]
    assert after_move.downloads == {(QWEN2, "model.safetensors"): 1}  # its other files are what they were
