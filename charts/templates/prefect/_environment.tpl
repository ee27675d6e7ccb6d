{{/* What the Prefect server is told. */}}
{{- define "freeze-bench.prefectServerEnv" -}}
{{- $database := .Values.prefect.database -}}
{{ include "freeze-bench.processEnv" . }}
- {name: PREFECT_HOME, value: {{ ternary "/tmp/prefect" "/data" (not (empty $database.existingSecret)) }}}
- {name: PREFECT_SERVER_UI_STATIC_DIRECTORY, value: /tmp/ui} # the server copies its pages before it serves them
- {name: PREFECT_SERVER_UI_API_URL, value: /api} # as seen by the browser: right behind any port or host
- {name: PREFECT_SERVER_ANALYTICS_ENABLED, value: "false"}
- {name: DO_NOT_TRACK, value: "1"}
{{ include "freeze-bench.secretEnv" (dict "name" "PREFECT_SERVER_API_AUTH_STRING" "secret" (include "freeze-bench.authSecret" .) "key" "auth-string") }}
{{- if $database.existingSecret }}
{{ include "freeze-bench.secretEnv" (dict "name" "PREFECT_SERVER_DATABASE_CONNECTION_URL" "secret" $database.existingSecret "key" $database.existingSecretKey) }}
{{- end }}
{{- end -}}
