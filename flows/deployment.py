"""The deployment ``compare-backbones``: what it holds on a Prefect server, and what a plan must be to run there."""

import platform
from dataclasses import dataclass
from importlib import resources
from typing import Any
from uuid import UUID

from fsspec.implementations.local import LocalFileSystem
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from flows.plan_file import load_plan
from flows.prefect_plugin import NAME
from flows.server import PrefectServerError
from flows.settings import RunnerSettings
from worker.contract.errors import ConfigError
from worker.contract.plan import Plan

FULL_NAME = f"{NAME}/{NAME}"
"""Flow and deployment, as Prefect writes them."""

_HOST_TAG = "host:"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployment as a Prefect server has it."""

    id: UUID
    host: str
    """Name of the machine that serves it, or served it last."""
    results: str | None
    """Its results store; None if runs decide that for themselves."""
    is_served: bool
    """Whether a process has asked for its runs within the last minute."""

    @property
    def is_here(self) -> bool:
        """Whether its runs see the files of this machine."""
        return self.host == platform.node()


def host_tags() -> list[str]:
    """Return the tags that say on which machine the deployment is served."""
    return [_HOST_TAG + platform.node()]


def default_parameters(settings: RunnerSettings) -> dict[str, Any]:
    """Return what a run of the deployment is given where whoever starts it gives nothing: the demo plan."""
    with resources.as_file(resources.files("flows") / "plans" / "demo.toml") as path:
        return {**plan_parameters(load_plan(path)), "settings": settings.model_dump(mode="json")}


def plan_parameters(plan: Plan, *, fresh: bool = False) -> dict[str, Any]:
    """Return a plan as parameters of the deployment."""
    return {"plan": plan.model_dump(mode="json"), "fresh": fresh}


def find_deployment(client: SyncPrefectClient) -> Deployment:
    """Read the deployment.

    Raises:
        PrefectServerError: The server has none.
    """
    try:
        found = client.read_deployment_by_name(FULL_NAME)
    except ObjectNotFound as error:
        raise PrefectServerError(
            f"There is no deployment {NAME!r} on {client.api_url}.",
            remedy="Run `freeze-bench serve` on the machine where comparisons are to run.",
        ) from error
    hosts = [tag.removeprefix(_HOST_TAG) for tag in found.tags if tag.startswith(_HOST_TAG)]
    settings = (found.parameters or {}).get("settings") or {}
    return Deployment(
        id=found.id,
        host=hosts[0] if hosts else "another machine",
        results=settings.get("results"),
        is_served=found.status is not None and found.status.value == "READY",
    )


def is_local(source: str) -> bool:
    """Whether a path or an fsspec URL names files that only machines with the same files can read.

    Plan files and settings are read with absolute paths.
    """
    place = source.rpartition("::")[2]  # fsspec: the last of a chain is where the bytes are
    protocol, separator, _ = place.partition(":")
    return place.startswith("/") or bool(separator and protocol.lower() in LocalFileSystem.protocol)


def check_paths(plan: Plan, deployment: Deployment) -> None:
    """Refuse a plan that names files of this machine when its runs happen on another.

    Raises:
        ConfigError: Names every such path.
    """
    if deployment.is_here:
        return
    sources = {f"data.{key}": str(value) for key, value in plan.data if key.endswith("source")}
    sources |= {f"arm {arm.label!r}": arm.backbone.source for arm in plan.arms}
    paths = [f"{where} is {source}" for where, source in sources.items() if is_local(source)]
    if paths:
        raise ConfigError(
            f"Comparisons run on {deployment.host}, which does not see the files of {platform.node()}: "
            f"{'; '.join(paths)}.",
            remedy=f"Use a hub id or a URL, or submit the plan on {deployment.host}. "
            "If the same files are there under the same paths, add --shared-paths.",
        )
