{{/* A claim for a volume, unless one exists. Takes {root, persistence, name, component}. */}}
{{- define "freeze-bench.claim" -}}
{{- if not .persistence.existingClaim }}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "freeze-bench.claimName" . | quote }}
  labels: {{- include "freeze-bench.labels" . | nindent 4 }}
  {{- if .persistence.keep }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
spec:
  accessModes: {{- toYaml .persistence.accessModes | nindent 4 }}
  {{- with .persistence.storageClassName }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources: {requests: {storage: {{ .persistence.size | quote }}}}
{{- end }}
{{- end -}}
