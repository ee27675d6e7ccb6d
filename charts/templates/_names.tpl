{{/* Names, labels and images. What users name is quoted wherever it stands alone: 123 and on are names, too. */}}

{{/* What begins every name: long enough to tell releases apart, never cut, so that two never meet. */}}
{{- define "freeze-bench.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* Labels by which selectors find pods. Takes {root, component}. */}}
{{- define "freeze-bench.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of a pod. They change with the version and not with the chart, so that few upgrades restart it. */}}
{{- define "freeze-bench.podLabels" -}}
{{ include "freeze-bench.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of an object. */}}
{{- define "freeze-bench.labels" -}}
{{ include "freeze-bench.podLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* An image by tag or digest. Takes {root, name}. */}}
{{- define "freeze-bench.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- $registry := .root.Values.global.imageRegistry | default $image.registry -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* A service account's name. Takes {root, account, component}. */}}
{{- define "freeze-bench.serviceAccountName" -}}
{{- .account.name | default (printf "%s-%s" (include "freeze-bench.fullname" .root) .component) -}}
{{- end -}}

{{/* The claim of a volume: the one that exists, or the chart's. Takes {root, persistence, name}. */}}
{{- define "freeze-bench.claimName" -}}
{{- .persistence.existingClaim | default (printf "%s-%s" (include "freeze-bench.fullname" .root) .name) -}}
{{- end -}}

{{/* The Secret that holds the release's auth string. */}}
{{- define "freeze-bench.authSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "freeze-bench.fullname" .)) -}}
{{- end -}}
