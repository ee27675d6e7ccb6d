"""One comparison of one's own texts with an arm of every kind of backbone, by the command."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hub_server import HubServer
from tiny_architectures import make_model
from tiny_gguf import make_gguf
from tiny_repositories import make_repository
from worker.contract.store import ResultsStore, RunRecords

PLAN = """
name = "Every kind"
seeds = [0]

[data]
source = "news.csv"
train_examples = 64
validation_examples = 16
test_examples = 16

[training]
steps = 2
batch_size = 8
max_tokens = 24
warmup_steps = 1
backbone_lr = 1e-3
"""
ARM = '\n[[arms]]\nlabel = "{kind} {mode}"\nbackbone = "{source}"\nmode = "{mode}"\n'
SOURCES = {
    "tiny": "tiny:llama",
    "encoder": "./bert",
    "decoder": "./llama",
    "gguf": "./tiny.Q8_0.gguf",
    "hub": "acme/base",
}
LIVE = "gguf"


@pytest.mark.full
def test_arms_of_every_kind_of_backbone_share_one_comparison(
    tmp_path: Path,
    hub_server: HubServer,
    write_news: Callable[..., Path],
    run_cli: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    write_news(tmp_path / "news.csv")
    make_model(tmp_path / "bert", "bert")
    llama = make_repository(tmp_path / "llama", "llama")
    make_gguf(tmp_path / "tiny.Q8_0.gguf", llama)
    commit = hub_server.add_model("acme/base", make_repository(tmp_path / "published", "qwen2"))
    arms = [(kind, "frozen") for kind in SOURCES] + [(LIVE, "live")]
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN + "".join(ARM.format(kind=kind, mode=mode, source=SOURCES[kind]) for kind, mode in arms))
    clients = {name: value for name, value in hub_server.environment(tmp_path / "hf").items() if "HF_" in name}

    run = run_cli("compare", plan, "--results", tmp_path / "results", NO_PROXY="127.0.0.1", **clients)

    assert run.returncode == 0, run.stdout + run.stderr
    store = ResultsStore(str(tmp_path / "results"))
    results = {(kind, mode): RunRecords(store, "every-kind", f"{kind}-{mode}", 0).read_result() for kind, mode in arms}
    found = {key: result.backbone for key, result in results.items() if result is not None}
    assert found.keys() == set(arms)
    assert {key[0]: backbone.kind for key, backbone in found.items()} == {
        "tiny": "tiny",
        "encoder": "folder",
        "decoder": "folder",
        "gguf": "gguf",
        "hub": "hub",
    }
    assert found["hub", "frozen"].revision == commit
    assert len({result.data_source for result in results.values() if result is not None}) == 1
