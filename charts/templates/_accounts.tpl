{{/* A service account. Takes {root, account, component}. */}}
{{- define "freeze-bench.serviceAccount" -}}
{{- if .account.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "freeze-bench.serviceAccountName" . | quote }}
  labels: {{- include "freeze-bench.labels" . | nindent 4 }}
  {{- with .account.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false # the runner's pod asks for it, no other does
{{- end }}
{{- end -}}

{{/* The runner's account, as a binding names it. */}}
{{- define "freeze-bench.runnerSubjects" -}}
- kind: ServiceAccount
  name: {{ include "freeze-bench.serviceAccountName" (dict "root" . "account" .Values.runner.serviceAccount "component" "runner") | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
