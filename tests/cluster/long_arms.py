"""Comparisons of tiny live arms that train long enough for something to happen to them."""

from collections.abc import Callable, Sequence

from cluster.kubectl import Document
from cluster.release import Release
from worker.contract.results import Attempt

NAME = "freeze-bench"
ARM = "live-qwen3"
LONG = 800
"""Steps of an arm that is still training when a fault has come and gone."""

Submit = Callable[..., str]
"""Starts a comparison of live arms under a name and returns the id of its flow run."""

ChangeRelease = Callable[..., None]
"""Installs the release with other tables of values."""

PLAN = """
name = "{name}"
seeds = {seeds}

[data]
source = "builtin:language-names"
train_examples = 512
validation_examples = 64
test_examples = 64

[training]
steps = {steps}
batch_size = 16
eval_every = {eval_every}
max_tokens = 64
backbone_lr = 1e-3
"""

ONE_ARM = """
[[arms]]
label = "{label}"
backbone = "tiny:qwen3"
mode = "live"
"""


def write_plan(name: str, *labels: str, steps: int = LONG, seeds: Sequence[int] = (0,)) -> str:
    """Return a plan with a live arm for each label."""
    arms = "".join(ONE_ARM.format(label=label) for label in labels)
    return PLAN.format(name=name, steps=steps, eval_every=min(steps, 50), seeds=list(seeds)) + arms


def attempts(release: Release, comparison: str, arm: str = ARM) -> list[Attempt]:
    content = release.read_result(f"{comparison}/runs/{arm}/seed-0/attempts.jsonl")
    return [Attempt.model_validate_json(line) for line in content.splitlines()]


def num_failed(release: Release, comparison: str, arm: str = ARM) -> int:
    """Return how many pods of an arm's Job counted as failed."""
    return int(release.job_of(comparison, arm)["status"].get("failed", 0))


def worker_pod(release: Release, comparison: str) -> Document:
    (pod,) = release.pods(f"freeze-bench/comparison={comparison},freeze-bench/arm={ARM}")
    return pod


def assert_completed(release: Release, flow_run: str) -> None:
    state = release.wait_for_end(flow_run)
    assert state["type"] == "COMPLETED", state
