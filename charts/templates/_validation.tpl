{{/*
What the schema cannot say: values that contradict each other. Every message says what to do.
Included by validation.yaml, which renders nothing else.
*/}}
{{- define "freeze-bench.validate" -}}
{{- include "freeze-bench.validateNames" . -}}
{{- include "freeze-bench.validatePlan" . -}}
{{- include "freeze-bench.validatePrefect" . -}}
{{- include "freeze-bench.validateStorage" . -}}
{{- include "freeze-bench.validateWorkers" . -}}
{{- include "freeze-bench.validateMetrics" . -}}
{{- include "freeze-bench.validateNetworkPolicy" . -}}
{{- include "freeze-bench.validateExtras" . -}}
{{- end -}}

{{- define "freeze-bench.validateNames" -}}
{{- $fullname := include "freeze-bench.fullname" . -}}
{{- if gt (len $fullname) 55 -}}
{{- fail (printf "The names of this release would begin with %q: %d characters, and 55 leave room for what follows. Set fullnameOverride to something shorter." $fullname (len $fullname)) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" $fullname) -}}
{{- fail (printf "The names of this release would begin with %q, and those of Services begin with a letter. Set fullnameOverride, for example to b%s." $fullname $fullname) -}}
{{- end -}}
{{- range $component, $account := dict "runner" .Values.runner.serviceAccount "worker" .Values.worker.serviceAccount -}}
{{- if not (or $account.create $account.name) -}}
{{- fail (printf "%s.serviceAccount.create is false: name the one to use in %s.serviceAccount.name." $component $component) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "freeze-bench.validatePlan" -}}
{{- if not (or (has (trim .Values.plan) (list "reference" "demo")) (contains "=" .Values.plan)) -}}
{{- fail (printf "plan is %q. It is reference, demo, or a plan as TOML text: --set-file plan=my-plan.toml" .Values.plan) -}}
{{- end -}}
{{- end -}}

{{- define "freeze-bench.validatePrefect" -}}
{{- $prefect := .Values.prefect -}}
{{- if and $prefect.apiUrl $prefect.database.existingSecret -}}
{{- fail "prefect.apiUrl names a server that exists, and prefect.database.existingSecret a database for one of the release's own. Set one of them." -}}
{{- end -}}
{{- if and $prefect.existingSecret (not $prefect.apiUrl) -}}
{{- fail "prefect.existingSecret holds the credentials for prefect.apiUrl, which is empty. Set prefect.apiUrl too; or set auth.existingSecret, for the release's own server." -}}
{{- end -}}
{{- end -}}

{{- define "freeze-bench.validateStorage" -}}
{{- $results := .Values.results -}}
{{- if and $results.url $results.persistence.existingClaim -}}
{{- fail "results.url names a bucket, and results.persistence.existingClaim a volume. Set one of them." -}}
{{- end -}}
{{- if and $results.existingSecret (not $results.url) -}}
{{- fail "results.existingSecret holds the credentials for the bucket in results.url, which is empty. Set results.url, for example to s3://bucket/folder." -}}
{{- end -}}
{{- range $name, $persistence := dict "results" $results.persistence "cache" .Values.cache.persistence -}}
{{- if has "ReadWriteOncePod" $persistence.accessModes -}}
{{- fail (printf "%s.persistence.accessModes has ReadWriteOncePod, which admits one pod, and several share this volume. Set it to [ReadWriteOnce] or [ReadWriteMany]." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "freeze-bench.validateWorkers" -}}
{{- $hasGpu := eq (include "freeze-bench.hasGpu" .) "true" -}}
{{- if and (eq .Values.worker.device "cuda") (not $hasGpu) -}}
{{- fail "worker.device is cuda, but arms ask for no GPU, so none of them would find one. Set worker.gpu.enabled to true, or worker.device to cpu." -}}
{{- end -}}
{{- end -}}

{{- define "freeze-bench.validateNetworkPolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $given := dict "allowedNamespaces" (not (empty $policy.allowedNamespaces)) "metricsFrom" (not (empty $policy.metricsFrom)) "armEgress" (not (kindIs "invalid" $policy.armEgress)) -}}
{{- range $name, $isGiven := $given -}}
{{- if and $isGiven (not $policy.enabled) -}}
{{- fail (printf "networkPolicy.%s is set, and networkPolicy.enabled is false, so nothing would hold it. Set networkPolicy.enabled to true, or leave networkPolicy.%s out." $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "freeze-bench.validateMetrics" -}}
{{- $metrics := .Values.metrics -}}
{{- range $component := list "worker" "runner" -}}
{{- if and $metrics.podMonitor.enabled (eq "true" (get ((index $.Values $component).podAnnotations | default dict) "prometheus.io/scrape")) -}}
{{- fail (printf "metrics.podMonitor.enabled is true, and %s.podAnnotations has prometheus.io/scrape, so everything might be scraped twice. Take the annotation out, or set metrics.podMonitor.enabled to false." $component) -}}
{{- end -}}
{{- end -}}
{{- if and $metrics.grafanaDashboard.enabled (not $metrics.dashboard.enabled) -}}
{{- fail "metrics.grafanaDashboard.enabled is true, and metrics.dashboard.enabled is false, so there would be no ConfigMap to take the dashboard from. Set metrics.dashboard.enabled to true." -}}
{{- end -}}
{{- end -}}
