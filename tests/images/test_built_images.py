"""The built images: what is in them, what is not, and that they work as a user without rights on a read-only root."""

import json
import pkgutil
import stat
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows
import worker
from dockerfile import ROOT
from free_port import free_port
from image_archives import ImageArchive
from image_container import USER, ImageContainer
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData, RunConfig
from worker.contract.plan import LANGUAGE_NAMES, DataSpec, TrainingSettings
from worker.contract.store import ResultsStore, RunRecords

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SERVER_SECONDS = 90
MODEL_OR_DATA = {".bin", ".csv", ".gguf", ".onnx", ".parquet", ".pt", ".pth", ".safetensors"}
EXECUTION = Execution(results="/results", cache="/cache", device="cpu", num_threads=1, metrics_port=None)
DATA = DataSpec(source=LANGUAGE_NAMES, train_examples=160, validation_examples=40, test_examples=40)
BACKBONE = BackboneSpec(source="tiny:llama")


def missing(image: ImageContainer, *modules: str) -> set[str]:
    """Return which modules an image's Python cannot find."""
    script = "import importlib.util as u, json, sys; print(json.dumps([m for m in sys.argv[1:] if not u.find_spec(m)]))"
    return set(json.loads(image.run("python", "-c", script, *modules).stdout))


def modules_of(package: object) -> list[str]:
    """Return the names of all modules of one of our packages."""
    name, path = getattr(package, "__name__", ""), getattr(package, "__path__", [])
    return [module.name for module in pkgutil.walk_packages(path, f"{name}.") if not module.name.endswith("__main__")]


def files_of(image: ImageContainer, *folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (image.root / folder).rglob("*") if not path.is_symlink())


def test_the_worker_knows_neither_prefect_nor_kubernetes(worker_image: ImageContainer) -> None:
    others = {"flows", "prefect", "kubernetes", "fastapi", "matplotlib"}

    assert missing(worker_image, *others) == others


def test_the_flow_has_no_training_library(flows_image: ImageContainer) -> None:
    others = {"accelerate", "datasets", "torch", "transformers"}

    assert missing(flows_image, *others) == others
    assert missing(flows_image, "worker.contract", "worker.train") == {"worker.train"}


@pytest.mark.parametrize("target", ["worker", "flows"])
def test_every_module_of_an_image_finds_what_it_imports(
    target: str, worker_image: ImageContainer, flows_image: ImageContainer
) -> None:
    image, modules = (
        (worker_image, modules_of(worker))
        if target == "worker"
        else (flows_image, [*modules_of(flows), *(name for name in modules_of(worker) if ".contract" in name)])
    )

    done = image.run("python", "-c", "import importlib, sys; [*map(importlib.import_module, sys.argv[1:])]", *modules)

    assert done.returncode == 0, done.stderr


def test_the_worker_prepares_and_trains(worker_image: ImageContainer) -> None:
    data = PreparedData.model_validate_json(
        prepare(
            worker_image, PrepareConfig(comparison="trial", name="data", answer="data", data=DATA, execution=EXECUTION)
        )
    )
    config = PrepareConfig(
        comparison="trial",
        name="backbone",
        answer="backbone",
        data=DATA,
        backbone=BACKBONE,
        prepared_data=data,
        execution=EXECUTION,
    )
    backbone = PreparedBackbone.model_validate_json(prepare(worker_image, config))
    arm = RunConfig(
        comparison="trial",
        arm=Arm(label="frozen llama", backbone=BACKBONE, mode=Mode.FROZEN),
        seeds=(0,),
        data=data,
        backbone=backbone,
        training=TrainingSettings(
            steps=12, batch_size=8, max_tokens=48, warmup_steps=3, head_lr=(0.03,), backbone_lr=()
        ),
        execution=EXECUTION,
    )

    done = worker_image.start("/cache/arm.json", **document(worker_image, "arm", arm.model_dump_json()))

    assert done.returncode == 0, done.stderr
    records = RunRecords(ResultsStore(str(worker_image.volume("results"))), "trial", "frozen-llama", 0)
    assert [point.step for point in records.read_curve()] == [*range(13)]


def prepare(image: ImageContainer, config: PrepareConfig) -> str:
    """Have the image's worker prepare something, and return its answer."""
    done = image.start(f"/cache/{config.name}.json", **document(image, config.name, config.model_dump_json()))
    assert done.returncode == 0, done.stderr
    return (image.volume("results") / config.answer).read_text("utf-8")


def document(image: ImageContainer, name: str, text: str) -> dict[str, str]:
    """Put a worker's document where the image sees it; return the environment of a pod."""
    (image.volume("cache") / f"{name}.json").write_text(text, "utf-8")
    return {"HF_HOME": "/cache/huggingface", "HF_HUB_OFFLINE": "1"}


def test_the_worker_ends_with_its_code_where_there_is_no_document(worker_image: ImageContainer) -> None:
    done = worker_image.start("/etc/freeze-bench/config.json")

    assert done.returncode == 40
    assert "/etc/freeze-bench/config.json cannot be read" in done.stdout


def test_the_command_line_works(flows_image: ImageContainer) -> None:
    plan = flows_image.start("schema")

    assert plan.returncode == 0, plan.stderr
    assert "arms" in json.loads(plan.stdout)["properties"]


def test_the_server_starts_and_serves_its_pages(flows_image: ImageContainer) -> None:
    port = free_port()
    words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(flows_image.words(*words, PREFECT_HOME="/cache/prefect"), stderr=subprocess.PIPE)
    try:
        assert answer(server, f"http://127.0.0.1:{port}/api/health") == b"true"
        assert b"<html" in answer(server, f"http://127.0.0.1:{port}/")
    finally:
        server.terminate()
        _, words_of_server = server.communicate(timeout=30)
    assert b"Traceback" not in words_of_server


def answer(server: subprocess.Popen[bytes], url: str) -> bytes:
    """Return what a server says, as soon as it is there."""
    deadline = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the server on this machine
                return bytes(response.read())
        except urllib.error.URLError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


@pytest.mark.parametrize("target", ["worker", "flows"])
def test_an_image_says_what_it_is(archives: dict[str, ImageArchive], target: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    archive = archives[target]

    name = f"freeze-bench-{target}:{version}"
    assert {name, f"docker.io/library/{name}"} & {*archive.names}  # Docker writes the short form of the same
    assert archive.config["User"] == f"{USER}:{USER}"
    assert archive.config["StopSignal"] == "SIGTERM"
    assert archive.config["Labels"]["org.opencontainers.image.version"] == version
    assert archive.config["Labels"]["org.opencontainers.image.title"] == f"freeze-bench {target}"


@pytest.mark.parametrize("target", ["worker", "flows"])
def test_nothing_of_ours_can_be_changed_by_its_user(
    target: str, worker_image: ImageContainer, flows_image: ImageContainer
) -> None:
    image = worker_image if target == "worker" else flows_image

    files = [(path, path.stat()) for path in files_of(image, "app", "opt/venv")]

    assert files
    assert [path for path, found in files if found.st_uid or found.st_mode & stat.S_IWOTH] == []


@pytest.mark.parametrize("target", ["worker", "flows"])
def test_models_data_and_what_only_builds_need_are_not_in_an_image(
    target: str, worker_image: ImageContainer, flows_image: ImageContainer
) -> None:
    image = worker_image if target == "worker" else flows_image

    files = {path.relative_to(image.root) for path in files_of(image, "app", "opt", "root", "cache", "results")}

    heavy = [path for path in files if path.suffix in MODEL_OR_DATA and (image.root / path).stat().st_size > 1_000_000]
    assert heavy == []
    assert {path.parts[1] for path in files if path.parts[0] == "opt"} == {"venv"}
    assert [path for path in files if path.parts[0] == "root" and path.name not in {".bashrc", ".profile"}] == []
    assert {path.parts[1] for path in files if path.parts[0] == "app"} <= {
        *("worker", "flows", "bin"),
        *(path.parts[1] for path in files if path.parts[1].endswith(".dist-info")),
    }


@pytest.mark.parametrize(
    ("target", "modules"),
    [("worker", ["worker.train", "worker.hub_tables"]), ("flows", ["flows.flow", "flows.serve", "flows.plot"])],
)
def test_what_is_loaded_is_compiled_already(
    target: str, modules: list[str], worker_image: ImageContainer, flows_image: ImageContainer
) -> None:
    image = worker_image if target == "worker" else flows_image

    loaded, stale = json.loads(image.run("python", "-c", STALE, *modules).stdout)

    assert loaded > 500
    assert len(stale) < loaded / 20, stale


STALE = """
import importlib, importlib.util, json, os, struct, sys
[*map(importlib.import_module, sys.argv[1:])]
def is_stale(source):
    compiled = importlib.util.cache_from_source(source)
    if not os.path.exists(compiled):
        return True
    # Source: PEP 552. Flags of zero: the source's time and size follow.
    flags, seconds, size = struct.unpack("<4xLLL", open(compiled, "rb").read(16))
    found = os.stat(source)
    return not flags and (seconds, size) != (int(found.st_mtime), found.st_size)
sources = {m.__file__ for m in sys.modules.values() if str(getattr(m, "__file__", "")).endswith(".py")}
ours = {source for source in sources if source.startswith(("/app/", "/opt/venv/"))}
print(json.dumps([len(ours), sorted(filter(is_stale, ours))]))
"""
"""Prints how many of our modules are loaded, and which have no bytecode that Python would take."""
