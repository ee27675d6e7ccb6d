{{/* What all pods of the release have in common: the restricted Pod Security Standard, and a root that is read-only. */}}

{{/* Security of a pod. The group makes volumes writable. An id that is null is the cluster's to give. Takes {root}. */}}
{{- define "freeze-bench.podSecurity" -}}
runAsNonRoot: true
{{- range $key, $id := .root.Values.securityContext }}
{{- if not (kindIs "invalid" $id) }}
{{ $key }}: {{ int $id }}
{{- end }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Security of a container. */}}
{{- define "freeze-bench.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Image and pull policy of a container. Takes {root, name}. */}}
{{- define "freeze-bench.containerImage" -}}
image: {{ include "freeze-bench.image" . | quote }}
imagePullPolicy: {{ (index .root.Values.images .name).pullPolicy }}
{{- end -}}

{{/* What every Python process is told: a home that it can write to, and a name for a user without an entry in passwd. */}}
{{- define "freeze-bench.processEnv" -}}
- {name: HOME, value: /tmp}
- {name: USER, value: freeze-bench}
- {name: PYTHONUNBUFFERED, value: "1"}
{{- end -}}

{{/* A key of a Secret as an environment variable. Takes {name, secret, key}. */}}
{{- define "freeze-bench.secretEnv" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}}
{{- end -}}

{{/* The Prefect API and the credentials for it. */}}
{{- define "freeze-bench.prefectEnv" -}}
- {name: PREFECT_API_URL, value: {{ include "freeze-bench.prefectUrl" . | quote }}}
{{- if not .Values.prefect.apiUrl }}
{{ include "freeze-bench.secretEnv" (dict "name" "PREFECT_API_AUTH_STRING" "secret" (include "freeze-bench.authSecret" .) "key" "auth-string") }}
{{- else if .Values.prefect.existingSecret }}
{{- $name := ternary "PREFECT_API_KEY" "PREFECT_API_AUTH_STRING" (eq .Values.prefect.existingSecretKey "api-key") }}
{{ include "freeze-bench.secretEnv" (dict "name" $name "secret" .Values.prefect.existingSecret "key" .Values.prefect.existingSecretKey) }}
{{- end }}
{{- end -}}

{{/* The auth string of the results. */}}
{{- define "freeze-bench.resultsAuthEnv" -}}
{{ include "freeze-bench.secretEnv" (dict "name" "FREEZE_BENCH_AUTH" "secret" (include "freeze-bench.authSecret" .) "key" "auth-string") }}
{{- end -}}

{{/* Credentials of the bucket, and what the values add. Takes {root, extra}. */}}
{{- define "freeze-bench.envFrom" -}}
{{- with .root.Values.results.existingSecret }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Account, security and scheduling of a pod. Takes {root, account, scheduling: a section of the values}. */}}
{{- define "freeze-bench.podHead" -}}
serviceAccountName: {{ .account | quote }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- include "freeze-bench.podSecurity" . | nindent 2 }}
{{- with .scheduling.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .scheduling.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .scheduling.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
