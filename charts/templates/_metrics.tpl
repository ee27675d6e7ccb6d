{{/* How the metrics of a release are found and reached. */}}

{{/* Annotations of a pod that serves metrics: where to scrape it, unless a PodMonitor says so, and its own. Takes {root, annotations}. */}}
{{- define "freeze-bench.scrapedAnnotations" -}}
{{- $metrics := .root.Values.metrics -}}
{{- $annotations := dict -}}
{{- if and $metrics.annotations (not $metrics.podMonitor.enabled) -}}
{{- $annotations = dict "prometheus.io/scrape" "true" "prometheus.io/port" "9464" "prometheus.io/path" "/metrics" -}}
{{- end -}}
{{- with mergeOverwrite $annotations (deepCopy (.annotations | default dict)) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* A rule of a NetworkPolicy that lets the monitoring reach the metrics, where it is named. */}}
{{- define "freeze-bench.scraperIngress" -}}
{{- with .Values.networkPolicy.metricsFrom -}}
- ports: [{port: 9464}]
  from:
    - namespaceSelector:
        matchLabels: {{- toYaml . | nindent 10 }}
{{- end -}}
{{- end -}}
