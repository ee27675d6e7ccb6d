"""What must stay cheap to import: the command's help, and the vocabulary that both sides share."""

import json
import pkgutil
import subprocess
import sys

import pytest

import worker.contract

HEAVY = {
    "accelerate",
    "datasets",
    "huggingface_hub",
    "matplotlib",
    "numpy",
    "prefect",
    "prometheus_client",
    "torch",
    "transformers",
}
CONTRACT = [f"worker.contract.{module.name}" for module in pkgutil.iter_modules(worker.contract.__path__)]
SCRIPT = """
import importlib, json, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps([*sys.modules]))
"""


def loaded_by(*modules: str) -> set[str]:
    """Return the packages that a fresh interpreter has loaded after importing some modules."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *modules], capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("modules", [["flows.cli"], CONTRACT], ids=["flows.cli", "worker.contract"])
def test_a_light_module_loads_nothing_heavy(modules: list[str]) -> None:
    assert not HEAVY & loaded_by(*modules)


def test_the_contract_needs_neither_rich_nor_typer() -> None:
    loaded = loaded_by(*CONTRACT)

    assert {"pydantic", "fsspec"} <= loaded
    assert not {"rich", "typer", "kubernetes"} & loaded


@pytest.mark.parametrize("module", ["flows.compare", "flows.outlook", "flows.report", "flows.server"])
def test_prefect_is_loaded_by_the_flow_alone(module: str) -> None:
    assert not {"prefect", "torch", "transformers"} & loaded_by(module)
