{{/* What the runner is told. */}}
{{- define "freeze-bench.runnerEnv" -}}
{{ include "freeze-bench.processEnv" . }}
- {name: PREFECT_HOME, value: /tmp/prefect}
- {name: MPLCONFIGDIR, value: /tmp/matplotlib}
{{ include "freeze-bench.prefectEnv" . }}
{{ include "freeze-bench.resultsAuthEnv" . }}
- {name: FREEZE_BENCH_RESULTS, value: {{ include "freeze-bench.resultsUrl" . | quote }}}
- {name: FREEZE_BENCH_CACHE, value: /cache} # as workers see it
- {name: FREEZE_BENCH_EXECUTOR, value: kubernetes}
- {name: FREEZE_BENCH_WORKER_TEMPLATES, value: /etc/freeze-bench/worker}
- {name: FREEZE_BENCH_PLAN, value: /etc/freeze-bench/plan/plan.toml}
- {name: FREEZE_BENCH_DEVICE, value: {{ include "freeze-bench.device" . }}}
{{- if not .Values.worker.gpu.checkMemory }}
- {name: FREEZE_BENCH_CHECK_MEMORY, value: "false"}
{{- end }}
- {name: FREEZE_BENCH_RESULTS_PORT, value: "4280"}
- {name: FREEZE_BENCH_METRICS_HOST, value: 0.0.0.0}
- {name: FREEZE_BENCH_METRICS_PORT, value: "9464"}
{{- with .Values.results.publicUrl }}
- {name: FREEZE_BENCH_PUBLIC_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.hub.endpoint }}
- {name: HF_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end -}}
