{{/* What the runner makes Jobs of: two pod templates, and settings for flows/cluster_settings.py. */}}
{{- define "freeze-bench.workerTemplates" -}}
prepare-pod.yaml: |
  {{- include "freeze-bench.workerPod" (dict "root" . "component" "prepare") | nindent 2 }}
run-pod.yaml: |
  {{- include "freeze-bench.workerPod" (dict "root" . "component" "worker") | nindent 2 }}
settings.yaml: |
  {{- include "freeze-bench.settings" . | nindent 2 }}
{{- end -}}

{{/* The settings. */}}
{{- define "freeze-bench.settings" -}}
{{- $hasGpu := eq (include "freeze-bench.hasGpu" .) "true" -}}
namespace: {{ .Release.Namespace | quote }}
release: {{ .Release.Name | quote }}
template_config_map: {{ include "freeze-bench.fullname" . }}-worker
queue_name: {{ .Values.kueue.queueName | default nil | toJson }}
max_retries: {{ .Values.jobs.maxRetries }}
prepare_deadline_seconds: {{ int .Values.jobs.prepareDeadlineSeconds }}
run_deadline_seconds: {{ int .Values.jobs.runDeadlineSeconds }}
pending_limit_seconds: {{ ternary "null" (toString (int .Values.jobs.pendingLimitSeconds)) (kindIs "invalid" .Values.jobs.pendingLimitSeconds) }}
keep_seconds: {{ int .Values.jobs.keepSeconds }}
num_threads: {{ .Values.worker.threads }}
metrics_port: 9464
visible_paths: {{ include "freeze-bench.visiblePaths" . }}
gpu_resource: {{ .Values.worker.gpu.resource | quote }}
gpus_per_arm: {{ ternary (int .Values.worker.gpu.count) 0 $hasGpu }}
gpu_memory: {{ .Values.worker.gpu.memory | default nil | toJson }}
has_hub_token: {{ not (empty .Values.hub.existingSecret) }}
check_nodes: {{ and .Values.rbac.create .Values.rbac.readNodes }}
{{- end -}}
