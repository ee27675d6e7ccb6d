{{/* What works, but perhaps not as its reader thinks. Printed by NOTES.txt. */}}
{{- define "freeze-bench.warnings" -}}
{{- $plan := trim .Values.plan }}
{{- if eq (include "freeze-bench.hasGpu" .) "true" }}

GPUs: each arm asks for {{ .Values.worker.gpu.count }} {{ .Values.worker.gpu.resource }} and trains on {{ include "freeze-bench.device" . }}.
  Without such nodes: helm upgrade {{ .Release.Name }} charts/ --reset-then-reuse-values --set plan=demo
{{- end }}
{{- if and (eq $plan "reference") (not .Values.hub.existingSecret) }}

WARNING: the reference plan has gated backbones (Llama 3.2, Gemma 3), and there is no hub token.
  Accept their terms on the hub, then:
  kubectl --namespace {{ .Release.Namespace }} create secret generic hub-token --from-literal=token=<your token>
  helm upgrade {{ .Release.Name }} charts/ --reset-then-reuse-values --set hub.existingSecret=hub-token
{{- end }}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.metricsFrom) }}

WARNING: networkPolicy.enabled is true and networkPolicy.metricsFrom is empty, so no Prometheus reaches the metrics.
  helm upgrade {{ .Release.Name }} charts/ --reset-then-reuse-values --set-json 'networkPolicy.metricsFrom={"kubernetes.io/metadata.name": "monitoring"}'
{{- end }}
{{- $single := list }}
{{- if and (not .Values.results.url) (not .Values.results.persistence.existingClaim) (not (has "ReadWriteMany" .Values.results.persistence.accessModes)) }}{{ $single = append $single "results" }}{{ end }}
{{- if and (not .Values.cache.persistence.existingClaim) (not (has "ReadWriteMany" .Values.cache.persistence.accessModes)) }}{{ $single = append $single "cache" }}{{ end }}
{{- if $single }}
{{- $hasResults := has "results" $single }}

Volumes: {{ join " and " $single }} can be mounted by the pods of one node only (ReadWriteOnce).
  {{- if $hasResults }}
  Keep the runner, which mounts the results, and all workers on one node
  (runner.nodeSelector, runner.tolerations, worker.nodeSelector),
  or put the results into a bucket (results.url),
  {{- else }}
  Keep all workers on one node (worker.nodeSelector),
  {{- end }}
  or install with ReadWriteMany ({{ range $index, $name := $single }}{{ if $index }}, {{ end }}{{ $name }}.persistence.accessModes{{ end }}).
  Access modes and storage class of a claim never change: to have others, delete the claim first, and with it what it holds.
{{- end }}
{{- end -}}
