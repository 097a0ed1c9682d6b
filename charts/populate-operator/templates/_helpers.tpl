{{/* The name of every object: the release's, so that two releases never share one. */}}
{{- define "populate-operator.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "populate-operator.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "populate-operator.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "populate-operator.fullname" .) }}
{{- end }}

{{/* A digest says exactly which image; a tag beside it would be for the eye only. */}}
{{- define "populate-operator.image" -}}
{{ with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "populate-operator.selector" -}}
app.kubernetes.io/name: {{ include "populate-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "populate-operator.labels" -}}
{{ include "populate-operator.selector" . }}
{{ include "populate-operator.commonLabels" . }}
{{- end }}

{{/* Labels that select nothing. */}}
{{- define "populate-operator.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What the operator does with a namespace's objects, each rule with the reason. */}}
{{- define "populate-operator.rules" -}}
# Watch the queues and keep the finalizer that lets a deleted queue settle its pods first.
- apiGroups: [populate.datajoint.io]
  resources: [populatequeues]
  verbs: [get, list, watch, patch]
# The one status write of a reconcile pass.
- apiGroups: [populate.datajoint.io]
  resources: [populatequeues/status]
  verbs: [patch]
# One pod per job: create it, follow it, release its finalizer, delete it.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# The last lines of a failed container become the job's error.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# The runner script is mounted into job pods from a ConfigMap, which is made where it is missing.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
# The database account, read by the name that a queue gives; never listed or watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
  {{- with .Values.rbac.secretNames }}
  resourceNames: {{- toYaml . | nindent 4 }}
  {{- end }}
# What a person reads in `kubectl describe`.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}
