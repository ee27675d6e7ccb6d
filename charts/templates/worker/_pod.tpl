{{/* The pod of an arm (component worker) or of a prepare Job (component prepare). Takes {root, component}. */}}
{{- define "freeze-bench.workerPod" -}}
{{- $values := .root.Values.worker -}}
{{- $isArm := eq .component "worker" -}}
{{- $podAnnotations := .root.Values.prepare.podAnnotations -}}
{{- if $isArm -}}
{{- $podAnnotations = include "freeze-bench.scrapedAnnotations" (dict "root" .root "annotations" $values.podAnnotations) | fromYaml -}}
{{- end -}}
{{- $scheduling := dict -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" -}}
{{- $own := index $.root.Values.prepare $key -}}
{{- $_ := set $scheduling $key (ternary (index $values $key) $own (or $isArm (kindIs "invalid" $own))) -}}
{{- end -}}
{{- $account := include "freeze-bench.serviceAccountName" (dict "root" .root "account" $values.serviceAccount "component" "worker") -}}
metadata:
  labels: {{- include "freeze-bench.podLabels" . | nindent 4 }}
    app.kubernetes.io/managed-by: freeze-bench
  {{- with $podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "freeze-bench.podHead" (dict "root" .root "account" $account "scheduling" $scheduling) | nindent 2 }}
  automountServiceAccountToken: false
  restartPolicy: Never
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- if and $isArm $values.runtimeClassName }}
  runtimeClassName: {{ $values.runtimeClassName | quote }}
  {{- end }}
  containers:
    - name: worker
      {{- include "freeze-bench.containerImage" (dict "root" .root "name" "worker") | nindent 6 }}
      securityContext: {{- include "freeze-bench.containerSecurity" . | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      env:
        {{- include "freeze-bench.workerEnv" . | nindent 8 }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with include "freeze-bench.envFrom" (dict "root" .root "extra" $values.extraEnvFrom) | trim }}
      envFrom: {{- . | nindent 8 }}
      {{- end }}
      {{- if $isArm }}
      ports:
        - {name: metrics, containerPort: 9464}
      {{- end }}
      resources: {{- include "freeze-bench.workerResources" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shm, mountPath: /dev/shm}
        - {name: cache, mountPath: /cache}
        {{- if not .root.Values.results.url }}
        - {name: results, mountPath: /results}
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    - {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ $values.sharedMemory | quote }}}}
    - name: cache
      persistentVolumeClaim:
        claimName: {{ include "freeze-bench.claimName" (dict "root" .root "persistence" .root.Values.cache.persistence "name" "cache") | quote }}
    {{- if not .root.Values.results.url }}
    - name: results
      persistentVolumeClaim:
        claimName: {{ include "freeze-bench.claimName" (dict "root" .root "persistence" .root.Values.results.persistence "name" "results") | quote }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What a worker is told beside its document. */}}
{{- define "freeze-bench.workerEnv" -}}
{{- $values := .root.Values.worker -}}
{{ include "freeze-bench.processEnv" . }}
- {name: HF_HOME, value: /cache/huggingface}
- {name: FREEZE_BENCH_IMAGE, value: {{ include "freeze-bench.image" (dict "root" .root "name" "worker") | quote }}}
- {name: FREEZE_BENCH_TERMINATION_LOG, value: /dev/termination-log}
- {name: OMP_NUM_THREADS, value: {{ $values.threads | quote }}}
- {name: RAYON_NUM_THREADS, value: {{ $values.threads | quote }}}
- {name: OMP_WAIT_POLICY, value: PASSIVE} # threads that spin take the cores of other pods
{{- if eq .component "worker" }}
- {name: HF_HUB_OFFLINE, value: "1"} # arms find what was prepared
{{- else }}
{{- with .root.Values.hub }}
{{- with .endpoint }}
- {name: HF_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .existingSecret }}
{{ include "freeze-bench.secretEnv" (dict "name" "HF_TOKEN" "secret" .existingSecret "key" .existingSecretKey) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* CPU and memory, and for arms GPUs. Where no memory is asked for, as much as the backbones of the reference plan need. */}}
{{- define "freeze-bench.workerResources" -}}
{{- if eq .component "prepare" -}}
{{- toYaml .root.Values.prepare.resources -}}
{{- else -}}
{{- $resources := deepCopy .root.Values.worker.resources -}}
{{- $hasGpu := eq (include "freeze-bench.hasGpu" .root) "true" -}}
{{- $isLarge := and $hasGpu (ne (trim .root.Values.plan) "demo") -}}
{{- $memory := dig "limits" "memory" (ternary "16Gi" "2Gi" $isLarge) $resources -}}
{{- $_ := set $resources "requests" (merge (get $resources "requests" | default dict) (dict "memory" $memory)) -}}
{{- if $hasGpu -}}
{{- $gpu := .root.Values.worker.gpu -}}
{{- $limits := merge (dict $gpu.resource (int $gpu.count)) (get $resources "limits" | default dict) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
{{- end -}}
