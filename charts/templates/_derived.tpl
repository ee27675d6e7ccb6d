{{/* What follows from several values. */}}

{{/* Where clients in the cluster find the Prefect API. */}}
{{- define "freeze-bench.prefectUrl" -}}
{{- .Values.prefect.apiUrl | default (printf "http://%s-prefect:4200/api" (include "freeze-bench.fullname" .)) -}}
{{- end -}}

{{/* The results store, as runner and workers address it. */}}
{{- define "freeze-bench.resultsUrl" -}}
{{- .Values.results.url | default "/results" -}}
{{- end -}}

{{/* "true" if arms ask for GPUs. */}}
{{- define "freeze-bench.hasGpu" -}}
{{- if kindIs "invalid" .Values.worker.gpu.enabled -}}
{{- ne (trim .Values.plan) "demo" -}}
{{- else -}}
{{- .Values.worker.gpu.enabled -}}
{{- end -}}
{{- end -}}

{{/* What arms train on. */}}
{{- define "freeze-bench.device" -}}
{{- .Values.worker.device | default (ternary "cuda" "cpu" (eq (include "freeze-bench.hasGpu" .) "true")) -}}
{{- end -}}

{{/* The default plan's text. */}}
{{- define "freeze-bench.plan" -}}
{{- $files := dict "reference" "files/plans/seed.toml" "demo" "files/plans/demo.toml" -}}
{{- $name := trim .Values.plan -}}
{{- if hasKey $files $name -}}
{{- .Files.Get (get $files $name) | trim -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Paths that plans may name because workers see them, as a JSON list. */}}
{{- define "freeze-bench.visiblePaths" -}}
{{- $paths := list "/cache" -}}
{{- if not .Values.results.url }}{{ $paths = prepend $paths "/results" }}{{ end -}}
{{- range .Values.worker.extraVolumeMounts }}{{ $paths = append $paths (clean .mountPath) }}{{ end -}}
{{- toJson $paths -}}
{{- end -}}
