"""The worker ConfigMap of a release as the chart renders it, written as the folder that the runner sees."""

from pathlib import Path

SETTINGS = """\
namespace: science
release: bench
template_config_map: bench-freeze-bench-worker
queue_name: null
max_retries: 3
prepare_deadline_seconds: 7200
run_deadline_seconds: 86400
pending_limit_seconds: null
keep_seconds: 86400
num_threads: 2
metrics_port: 9464
visible_paths: [/results, /cache]
gpu_resource: nvidia.com/gpu
gpus_per_arm: 1
gpu_memory: 80Gi
has_hub_token: true
check_nodes: true
"""

_POD = """\
metadata:
  labels:
    app.kubernetes.io/name: freeze-bench
    app.kubernetes.io/instance: bench
    app.kubernetes.io/component: {component}
    app.kubernetes.io/version: 0.1.0
    team: vision
  annotations:
    prometheus.io/scrape: "true"
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 50
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    fsGroup: 65532
    seccompProfile: {{type: RuntimeDefault}}
  containers:
    - name: worker
      image: registry.example/freeze-bench-worker:0.1.0
      terminationMessagePolicy: FallbackToLogsOnError
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {{drop: [ALL]}}
      env: {env}
      resources: {resources}
      volumeMounts:
        - {{name: tmp, mountPath: /tmp}}
        - {{name: cache, mountPath: /cache}}
        - {{name: results, mountPath: /results}}
  volumes:
    - {{name: tmp, emptyDir: {{}}}}
    - {{name: cache, persistentVolumeClaim: {{claimName: bench-freeze-bench-cache}}}}
    - {{name: results, persistentVolumeClaim: {{claimName: bench-freeze-bench-results}}}}
"""

PREPARE_POD = _POD.format(
    component="prepare",
    env="[{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token}}}]",
    resources="{requests: {cpu: '1', memory: 2Gi}}",
)

RUN_POD = _POD.format(
    component="worker",
    env="[{name: HF_HUB_OFFLINE, value: '1'}]",
    resources="{requests: {cpu: '1', memory: 2Gi}, limits: {nvidia.com/gpu: 1}}",
)

OWNER = {"metadata": {"name": "bench-freeze-bench-worker", "uid": "4c5d9e0a-8d7f-4a37-9a61-0d3c5a5e1f10"}}
"""The ConfigMap that is mounted there, as the API server returns it."""


def write_worker_templates(folder: Path, **files: str) -> Path:
    """Write the three files; ``settings``, ``prepare_pod`` and ``run_pod`` replace what is in one of them."""
    texts = {"settings": SETTINGS, "prepare_pod": PREPARE_POD, "run_pod": RUN_POD} | files
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.yaml").write_text(text, "utf-8")
    return folder
