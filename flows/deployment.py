"""The deployment ``compare-backbones``: what it holds on a Prefect server, and what a plan must be to run there."""

import os
import platform
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
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

PLAN_ENV = "FREEZE_BENCH_PLAN"
"""Names the plan file that a run of the deployment is given where whoever starts it gives nothing."""

_HOST_TAG = "host:"
_RELEASE_TAG = "release:"


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


def owner_tags(release: str | None) -> list[str]:
    """Return the tags that say on which machine the deployment is served, and by which release of the chart."""
    return [_HOST_TAG + platform.node()] + ([_RELEASE_TAG + release] if release else [])


def check_owner(client: SyncPrefectClient, release: str | None) -> None:
    """Refuse to serve a deployment that a release serves which is not this one: they would take each other's runs.

    Args:
        client: Of the Prefect server.
        release: ``namespace/name`` of the release that this process belongs to; None if to none.

    Raises:
        PrefectServerError: Names the other release.
    """
    try:
        tags = client.read_deployment_by_name(FULL_NAME).tags
    except ObjectNotFound:
        return
    owners = {tag.removeprefix(_RELEASE_TAG) for tag in tags if tag.startswith(_RELEASE_TAG)} - {release}
    if owners:
        raise PrefectServerError(
            f"The deployment {NAME!r} on {client.api_url} belongs to the release {min(owners)}.",
            remedy="Give each release a Prefect server of its own. If that one is gone for good: "
            f"prefect deployment delete {FULL_NAME}",
        )


def default_parameters(settings: RunnerSettings) -> dict[str, Any]:
    """Return what a run of the deployment is given where whoever starts it gives nothing.

    Raises:
        ConfigError: ``$FREEZE_BENCH_PLAN`` names no plan.
    """
    return {**plan_parameters(load_default_plan()), "settings": settings.model_dump(mode="json")}


def load_default_plan() -> Plan:
    """Load the plan that ``$FREEZE_BENCH_PLAN`` names, or the demo plan.

    Raises:
        ConfigError: It is no plan.
    """
    given = os.environ.get(PLAN_ENV)
    if given:
        return load_plan(Path(given))
    with resources.as_file(resources.files("flows") / "plans" / "demo.toml") as path:
        return load_plan(path)


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
