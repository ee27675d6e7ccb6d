{{/* What may be added to pods must leave alone what is theirs. Every message says what to do. */}}
{{- define "freeze-bench.validateExtras" -}}
{{- $worker := dict "root" . "component" "worker" -}}
{{- $prepare := dict "root" . "component" "prepare" -}}
{{- $test := "- {name: FREEZE_BENCH_RESULTS_URL}" -}}
{{- $environments := dict
  "prefect" (include "freeze-bench.prefectServerEnv" .)
  "runner" (printf "%s\n%s" (include "freeze-bench.runnerEnv" .) $test)
  "worker" (printf "%s\n%s" (include "freeze-bench.workerEnv" $worker) (include "freeze-bench.workerEnv" $prepare)) -}}
{{- range $component, $own := $environments -}}
{{- $values := index $.Values $component -}}
{{- include "freeze-bench.validateEnv" (dict "component" $component "own" (fromYamlArray $own) "extra" $values.extraEnv) -}}
{{- include "freeze-bench.validateMounts" (dict "component" $component "mounts" $values.extraVolumeMounts) -}}
{{- end -}}
{{- end -}}

{{/* Takes {component, own: its variables, extra: those of the values}. */}}
{{- define "freeze-bench.validateEnv" -}}
{{- $own := list -}}
{{- range .own }}{{ $own = append $own .name }}{{ end -}}
{{- range .extra -}}
{{- if and (eq .name "HF_TOKEN") (eq $.component "worker") -}}
{{- fail "worker.extraEnv: HF_TOKEN would be seen by arms, too, which may run code that came with a backbone. Put the token into a Secret, and set hub.existingSecret to its name." -}}
{{- else if has .name $own -}}
{{- fail (printf "%s.extraEnv: the chart sets %s itself. Leave it out; if another value of the chart decides it, set that one." $.component .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* No mount may hide a path of the chart or the image: not at it, not below it, not above it. Takes {component, mounts}. */}}
{{- define "freeze-bench.validateMounts" -}}
{{- $own := list "/results" "/cache" "/tmp" "/dev/shm" "/etc/freeze-bench" "/app" "/opt/venv" "/proc" "/sys"
  "/bin" "/lib" "/lib64" "/sbin" "/usr/bin" "/usr/lib" "/usr/local/bin" "/usr/local/lib" -}}
{{- range .mounts -}}
{{- $path := clean .mountPath -}}
{{- range $own -}}
{{- if or (eq $path "/") (eq $path .) (hasPrefix (printf "%s/" .) $path) (hasPrefix (printf "%s/" $path) .) -}}
{{- fail (printf "%s.extraVolumeMounts: a volume at %s would hide %s, which pods need. Take a path of its own, such as /data." $.component $path .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
