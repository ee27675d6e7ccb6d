"""What the chart tells the runner about the cluster: one settings document, and the pod templates of the workers.

The chart renders them into a ConfigMap, which is mounted as a folder. Here they are read and checked; nothing asks the
cluster anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from worker.contract.config import PrepareConfig, RunConfig
from worker.contract.errors import ConfigError
from worker.contract.records import Record

WORKER_TEMPLATES_ENV: Final = "FREEZE_BENCH_WORKER_TEMPLATES"
"""Environment variable that names the folder."""

SETTINGS_FILE: Final = "settings.yaml"
PREPARE_POD_FILE: Final = "prepare-pod.yaml"
RUN_POD_FILE: Final = "run-pod.yaml"

WORKER_CONTAINER: Final = "worker"
"""Name of the container that runs the worker, in every template and every pod."""

KubernetesObject = dict[str, Any]
"""An object of the Kubernetes API as its JSON has it: camelCase keys, times as strings."""

_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

ObjectName = Annotated[str, Field(pattern=_DNS_SUBDOMAIN, max_length=253)]
Folder = Annotated[str, Field(pattern=r"^/")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([KMGT]i|[kMGT])?$")]


class KubernetesSettings(Record):
    """How workers are run as Jobs of a cluster. Changes no curve."""

    namespace: str = Field(pattern=_DNS_LABEL, max_length=63, description="Where Jobs are made.")
    release: str = Field(
        pattern=_DNS_SUBDOMAIN, max_length=53, description="Name of the Helm release: whose Jobs they are."
    )
    template_config_map: ObjectName = Field(
        description="ConfigMap that this document is from; it owns the Jobs, so that an uninstall takes them along."
    )
    queue_name: ObjectName | None = Field(default=None, description="Kueue's local queue; None for no queue.")
    max_retries: int = Field(
        default=3, ge=0, le=100, description="Counted retries of one worker. Disruptions are retried beyond that."
    )
    prepare_deadline_seconds: int = Field(
        default=7200, ge=1, description="Of one attempt of a prepare worker, counted from its pod's start."
    )
    run_deadline_seconds: int = Field(
        default=86400, ge=1, description="Of one attempt of an arm's worker, counted from its pod's start."
    )
    pending_limit_seconds: int | None = Field(
        default=None, ge=1, description="How long a worker may wait for a place; None for as long as it takes."
    )
    keep_seconds: int = Field(
        default=86400,
        ge=60,
        description="How long a finished Job stays, for whoever looks into it. Never so short that it could be gone "
        "before it was read.",
    )
    num_threads: int = Field(ge=1, description="CPU threads of one worker.")
    metrics_port: int = Field(default=9464, ge=1024, le=65535, description="Port of the workers' /metrics.")
    visible_paths: tuple[Folder, ...] = Field(description="Folders that worker pods see as the runner does.")
    gpu_resource: str = Field(
        default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[\w.-]+$", description="Resource that counts GPUs on nodes."
    )
    gpus_per_arm: int = Field(default=1, ge=0, description="GPUs of one arm's worker; 0 trains on the CPU.")
    gpu_memory: Quantity | None = Field(
        default=None, description="Memory of one GPU; None takes what labels of the nodes say, if they do."
    )
    has_hub_token: bool = Field(description="Whether prepare pods get a token for the hub.")
    check_nodes: bool = Field(description="Whether nodes may be listed, to refuse what none of them can run.")


@dataclass(frozen=True, slots=True)
class WorkerTemplates:
    """Pod templates (``PodTemplateSpec``) as the chart made them."""

    prepare: KubernetesObject
    """Sees the hub and its token, asks for no GPU."""

    run: KubernetesObject
    """Asks for GPUs, sees no token."""

    def template_of(self, config: RunConfig | PrepareConfig) -> KubernetesObject:
        """Return the template for a worker's document."""
        return self.run if isinstance(config, RunConfig) else self.prepare


def read_settings(folder: Path) -> KubernetesSettings:
    """Read the settings document of a mounted ConfigMap.

    Raises:
        ConfigError: It is missing, or says something that cannot be.
    """
    path = folder / SETTINGS_FILE
    document = _load_mapping(path)
    try:
        return KubernetesSettings.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(_describe(each) for each in error.errors())
        raise ConfigError(
            f"{path} is not valid: {problems}.",
            remedy="The chart writes this file: chart and runner image must be of one version.",
        ) from error


def load_templates(folder: Path) -> WorkerTemplates:
    """Load the pod templates of a mounted ConfigMap.

    Raises:
        ConfigError: One is missing, or is no pod template with a worker in it.
    """
    prepare, run = (_load_template(folder / name) for name in (PREPARE_POD_FILE, RUN_POD_FILE))
    return WorkerTemplates(prepare, run)


def find_worker_container(template: KubernetesObject) -> KubernetesObject:
    """Return the container of a pod template that runs the worker.

    Raises:
        ConfigError: There is not exactly one.
    """
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list):
        raise ConfigError("A worker's pod template has no list spec.containers.", remedy=_TEMPLATE_REMEDY)
    names = [each.get("name") if isinstance(each, dict) else None for each in containers]
    if names.count(WORKER_CONTAINER) != 1:
        raise ConfigError(
            f"A worker's pod template has the containers {names}; exactly one must be named {WORKER_CONTAINER!r}.",
            remedy=_TEMPLATE_REMEDY,
        )
    container: KubernetesObject = containers[names.index(WORKER_CONTAINER)]
    return container


_TEMPLATE_REMEDY = "Install the chart's own templates again: helm upgrade."


def _load_template(path: Path) -> KubernetesObject:
    template = _load_mapping(path)
    try:
        find_worker_container(template)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.problem}", remedy=error.remedy) from error
    return template


def _load_mapping(path: Path) -> KubernetesObject:
    try:
        document = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.",
            remedy=f"The chart mounts a ConfigMap there. {WORKER_TEMPLATES_ENV} names another folder.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.", remedy=_TEMPLATE_REMEDY) from error
    if not isinstance(document, dict):
        raise ConfigError(
            f"{path} holds {type(document).__name__} instead of keys and values.", remedy=_TEMPLATE_REMEDY
        )
    return document


def _describe(error: ErrorDetails) -> str:
    field = ".".join(map(str, error["loc"])) or "the document"
    given = "" if error["type"] == "missing" else f" (given: {error['input']!r})"
    return f"{field}: {error['msg']}{given}"
