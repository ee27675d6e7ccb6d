"""The Kubernetes Job of one worker: its document, the settings and the chart's pod template in, a manifest out.

Pure: what is built here depends on nothing but its arguments, and nothing is asked of a cluster.
"""

import copy
from typing import Final

from flows.cluster_settings import WORKER_CONTAINER, KubernetesObject, KubernetesSettings, find_worker_container
from worker.contract.config import RECIPE_VERSION, PrepareConfig, RunConfig
from worker.contract.errors import ConfigError, ExitCode
from worker.contract.records import content_hash

NAME_LABEL: Final = "app.kubernetes.io/name"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
PART_OF_LABEL: Final = "app.kubernetes.io/part-of"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
COMPARISON_LABEL: Final = "freeze-bench/comparison"
ARM_LABEL: Final = "freeze-bench/arm"
MODE_LABEL: Final = "freeze-bench/mode"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"

CONFIG_ANNOTATION: Final = "freeze-bench/config"
DOCUMENT_ANNOTATION: Final = "freeze-bench/document-sha256"
FLOW_RUN_ANNOTATION: Final = "freeze-bench/flow-run"

CONFIG_FOLDER: Final = "/etc/freeze-bench"
CONFIG_FILE: Final = "config.json"
CONFIG_VOLUME: Final = "freeze-bench-config"

MAX_ANNOTATION_BYTES: Final = 248 * 1024
"""Keys and values of a pod's annotations together. Kubernetes refuses more than 256 KiB (TotalAnnotationSizeLimitB);
the rest is left to network plugins and admission webhooks, which add their own when the pod is already made."""

PERMANENT_EXIT_CODES: Final = tuple(int(code) for code in ExitCode if code.is_permanent)

_PRODUCT = "freeze-bench"
_COMPARISON_LENGTH, _ARM_LENGTH, _HASH_LENGTH = 20, 30, 8
"""Characters. With the prefix and the dashes they make 63, the limit of a Job's name."""

_HOW_IT_RUNS = frozenset({"num_threads", "metrics_host", "metrics_port", "flush_seconds", "checkpoint_seconds"})
"""Keys of ``Execution`` that change neither what a worker makes nor where it puts it. A release may change them while
Jobs run, and those Jobs are still the right ones."""


def build_job(
    config: RunConfig | PrepareConfig,
    settings: KubernetesSettings,
    template: KubernetesObject,
    owner: KubernetesObject,
    flow_run: str,
) -> KubernetesObject:
    """Build the Job of one worker.

    Args:
        config: The worker's document, final: the worker gets it as it is.
        settings: Of the release.
        template: Pod template of the chart; it is added to, never changed.
        owner: The ConfigMap that goes with the release and takes its Jobs along.
        flow_run: Id of the flow run that asks for it.

    Raises:
        ConfigError: The template has no worker in it, or the document is too large for an annotation.
    """
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(settings.release, config.comparison, config.name),
            "namespace": settings.namespace,
            "labels": _add_labels(template, config, settings)
            | ({QUEUE_LABEL: settings.queue_name} if settings.queue_name else {}),
            "annotations": {DOCUMENT_ANNOTATION: document_hash(config), FLOW_RUN_ANNOTATION: flow_run},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                }
            ],
        },
        "spec": {
            "backoffLimit": settings.max_retries,
            # Otherwise the next pod starts while the last one still holds the GPU and writes its checkpoint.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "ttlSecondsAfterFinished": settings.keep_seconds,
            "template": _build_pod_template(config, settings, template),
        },
    }


def job_name(release: str, comparison: str, arm: str) -> str:
    """Return the name of a worker's Job: the same for the same worker, another for any other.

    Whoever asks for a worker that has a Job already is told so by the cluster, because the name is taken. The words
    are for people; the hash keeps names apart that are shortened alike, and two releases in one namespace.
    """
    shortened = (comparison[:_COMPARISON_LENGTH].rstrip("-"), arm[:_ARM_LENGTH].rstrip("-"))
    return "-".join(("fb", *shortened, content_hash([release, comparison, arm])[:_HASH_LENGTH]))


def document_hash(config: RunConfig | PrepareConfig) -> str:
    """Return the hash by which a Job is known to do what a document says, and to put it where the document says."""
    # Without what is left at its default: a version that knows one more setting still knows the Jobs of the one before.
    # Without the estimate that is asked for along with a backbone: the backbone is the same, and nothing waits for it.
    document = config.model_dump(
        mode="json", exclude={"execution": set(_HOW_IT_RUNS), "estimate": True}, exclude_defaults=True
    )
    return content_hash({"recipe_version": RECIPE_VERSION, "document": document})


def comparison_selector(settings: KubernetesSettings, comparison: str) -> str:
    """Return the label selector of a comparison's Jobs, and of their pods."""
    return f"{INSTANCE_LABEL}={settings.release},{COMPARISON_LABEL}={comparison}"


def release_selector(settings: KubernetesSettings) -> str:
    """Return the label selector of all Jobs of a release, and of their pods."""
    return f"{INSTANCE_LABEL}={settings.release},{COMPARISON_LABEL}"


def _failure_rules() -> list[KubernetesObject]:
    """Say which ends are not counted and which are final. The first rule that fits counts; what fits none is counted.

    A disruption comes first: a worker that is stopped in the middle of something may end with any code.
    """
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": WORKER_CONTAINER,
                "operator": "In",
                "values": list(PERMANENT_EXIT_CODES),
            },
        },
    ]


def _build_pod_template(
    config: RunConfig | PrepareConfig, settings: KubernetesSettings, template: KubernetesObject
) -> KubernetesObject:
    pod = copy.deepcopy(template)
    metadata = pod.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), CONFIG_ANNOTATION: config.model_dump_json()}
    _check_size(config, annotations)
    pod["metadata"] = {**metadata, "labels": _add_labels(template, config, settings), "annotations": annotations}

    container, spec = find_worker_container(pod), pod["spec"]
    container["args"] = [f"{CONFIG_FOLDER}/{CONFIG_FILE}"]
    mount = {"name": CONFIG_VOLUME, "mountPath": CONFIG_FOLDER, "readOnly": True}
    container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]
    document = {"path": CONFIG_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{CONFIG_ANNOTATION}']"}}
    spec["volumes"] = [*(spec.get("volumes") or []), {"name": CONFIG_VOLUME, "downwardAPI": {"items": [document]}}]
    # Counted from the pod's start: the Job's own timer would count the wait for a GPU, and begin anew with every
    # suspension.
    is_run = isinstance(config, RunConfig)
    spec["activeDeadlineSeconds"] = settings.run_deadline_seconds if is_run else settings.prepare_deadline_seconds
    spec["restartPolicy"] = "Never"  # what a podFailurePolicy requires
    return pod


def _add_labels(
    template: KubernetesObject, config: RunConfig | PrepareConfig, settings: KubernetesSettings
) -> dict[str, str]:
    """Return the chart's labels with those that say whose worker this is; the chart may give the product a name."""
    chart_labels: dict[str, str] = (template.get("metadata") or {}).get("labels") or {}
    labels = {
        NAME_LABEL: _PRODUCT,
        **chart_labels,
        INSTANCE_LABEL: settings.release,
        COMPONENT_LABEL: "worker" if isinstance(config, RunConfig) else "prepare",
        PART_OF_LABEL: _PRODUCT,
        MANAGED_BY_LABEL: _PRODUCT,
        COMPARISON_LABEL: config.comparison,
        ARM_LABEL: config.name,
    }
    return labels | ({MODE_LABEL: config.arm.mode.value} if isinstance(config, RunConfig) else {})


def _check_size(config: RunConfig | PrepareConfig, annotations: dict[str, str]) -> None:
    num_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if num_bytes > MAX_ANNOTATION_BYTES:
        raise ConfigError(
            f"The document of {config.name} does not fit a pod: its annotations would have {num_bytes} bytes, "
            f"{MAX_ANNOTATION_BYTES} are allowed.",
            remedy="Most of a large document are the names of classes: shorten them in the data set.",
        )
