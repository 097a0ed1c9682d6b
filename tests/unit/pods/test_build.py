"""The pod of a job from the user's template.

Cases: the whole of a minimal pod; templates of every sort stay as they are; the environment and whose
variables win; dollars in keys; the runner; deadlines; memory after OOM kills; purity; an empty template.
"""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from populate_operator.pods.build import DatabaseAccess, PodRequest, Runner, build_pod
from populate_operator.pods.owner import QueueRef

Json = dict[str, Any]

REQUEST = PodRequest(
    name="spikes-abcdefghijkl",
    queue=QueueRef("populate.datajoint.io/v1alpha1", "lab", "spikes", "uid-1"),
    template={"spec": {"containers": [{"name": "main", "image": "lab/pipeline:1"}]}},
    database=DatabaseAccess("db.lab", 3307, "account", "user", "pass"),
    schema="lab_ephys",
    table="__spike_sorting",
    key='{"subject": 1}',
    attempt=2,
)


def build(template: Json, **changes: Any) -> Json:
    return build_pod(replace(REQUEST, template=template, **changes))


def one_container(**fields: Any) -> Json:
    return {"spec": {"containers": [{"name": "main", "image": "x", **fields}]}}


def env_of(pod: Json, container: int = 0) -> dict[str, Any]:
    return {
        one["name"]: one.get("value", one.get("valueFrom"))
        for one in pod["spec"]["containers"][container]["env"]
    }


def test_a_minimal_pod_whole() -> None:
    account = {"name": "account"}
    assert build_pod(REQUEST) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "spikes-abcdefghijkl",
            "namespace": "lab",
            "labels": {
                "app.kubernetes.io/managed-by": "populate-operator",
                "populate.datajoint.io/queue": "spikes",
                "populate.datajoint.io/queue-uid": "uid-1",
            },
            "annotations": {
                "populate.datajoint.io/key": '{"subject": 1}',
                "populate.datajoint.io/attempt": "2",
            },
            "finalizers": ["populate.datajoint.io/outcome"],
            "ownerReferences": [
                {
                    "apiVersion": "populate.datajoint.io/v1alpha1",
                    "kind": "PopulateQueue",
                    "name": "spikes",
                    "uid": "uid-1",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "main",
                    "image": "lab/pipeline:1",
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "env": [
                        {"name": "POPULATE_KEY", "value": '{"subject": 1}'},
                        {"name": "POPULATE_QUEUE", "value": "spikes"},
                        {"name": "POPULATE_ATTEMPT", "value": "2"},
                        {"name": "POPULATE_POD", "value": "spikes-abcdefghijkl"},
                        {"name": "POPULATE_SCHEMA", "value": "lab_ephys"},
                        {"name": "POPULATE_TABLE", "value": "__spike_sorting"},
                        {"name": "DJ_HOST", "value": "db.lab"},
                        {"name": "DJ_PORT", "value": "3307"},
                        {"name": "DJ_USER", "valueFrom": {"secretKeyRef": account | {"key": "user"}}},
                        {"name": "DJ_PASS", "valueFrom": {"secretKeyRef": account | {"key": "pass"}}},
                    ],
                }
            ],
        },
    }


UNTOUCHED_SPECS: dict[str, Json] = {
    "init containers": {
        "initContainers": [{"name": "fetch", "image": "x", "env": [{"name": "A", "value": "1"}]}]
    },
    "sidecar": {"initContainers": [{"name": "proxy", "image": "x", "restartPolicy": "Always"}]},
    "volumes": {"volumes": [{"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}}]},
    "affinity": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
    "tolerations": {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
    "node selector": {"nodeSelector": {"disk": "ssd"}},
    "scheduling gates": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]},
    "runtime class": {"runtimeClassName": "nvidia"},
    "priority": {"priorityClassName": "low"},
    "service account": {"serviceAccountName": "reader"},
    "token asked for": {"automountServiceAccountToken": True},
    "security context": {"securityContext": {"runAsUser": 1000, "fsGroup": 1000}},
    "pull secrets": {"imagePullSecrets": [{"name": "registry"}]},
    "grace": {"terminationGracePeriodSeconds": 5},
    "deadline of the template": {"activeDeadlineSeconds": 77},
    "spread": {"topologySpreadConstraints": [{"maxSkew": 1}]},
    "resource claims": {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]},
    "host network": {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
}


@pytest.mark.parametrize("fields", UNTOUCHED_SPECS.values(), ids=list(UNTOUCHED_SPECS))
def test_the_rest_of_the_spec_is_the_users(fields: Json) -> None:
    spec = build({"spec": {"containers": [{"name": "main", "image": "x"}], **fields}})["spec"]
    assert {name: spec[name] for name in fields} == fields


def test_labels_annotations_and_finalizers_of_the_template_stay() -> None:
    template = {
        "metadata": {
            "name": "ignored",
            "namespace": "elsewhere",
            "generateName": "ignored-",
            "labels": {"kueue.x-k8s.io/queue-name": "gpu", "app.kubernetes.io/managed-by": "helm"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "finalizers": ["example.com/other", "populate.datajoint.io/outcome"],
            "ownerReferences": [{"kind": "Job", "controller": True}],
        },
        **one_container(),
    }
    metadata = build(template)["metadata"]
    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "gpu"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "populate-operator"
    assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
    assert metadata["finalizers"] == ["example.com/other", "populate.datajoint.io/outcome"]
    assert [one["kind"] for one in metadata["ownerReferences"]] == ["PopulateQueue"]
    assert (metadata["name"], metadata["namespace"]) == ("spikes-abcdefghijkl", "lab")
    assert "generateName" not in metadata


def test_the_first_container_works_unless_one_is_named_populate() -> None:
    first = build({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}})
    assert ["env" in one for one in first["spec"]["containers"]] == [True, False]
    named = build(
        {"spec": {"containers": [{"name": "log", "image": "x"}, {"name": "populate", "image": "y"}]}}
    )
    assert ["env" in one for one in named["spec"]["containers"]] == [False, True]
    assert named["spec"]["containers"][0] == {"name": "log", "image": "x"}


def test_init_containers_get_no_account() -> None:
    template = one_container()
    template["spec"]["initContainers"] = [{"name": "fetch", "image": "x"}]
    assert build(template)["spec"]["initContainers"] == [{"name": "fetch", "image": "x"}]


def test_the_jobs_variables_win_and_the_users_account_variables_stay() -> None:
    mine = [
        {"name": "POPULATE_KEY", "value": "forged"},
        {"name": "DJ_HOST", "value": "proxy"},
        {"name": "OUT", "value": "/data/$(POPULATE_POD)"},
    ]
    pod = build(one_container(env=mine))
    env = env_of(pod)
    assert env["POPULATE_KEY"] == '{"subject": 1}'
    assert env["DJ_HOST"] == "proxy"
    assert env["DJ_PASS"] == {"secretKeyRef": {"name": "account", "key": "pass"}}
    names = [one["name"] for one in pod["spec"]["containers"][0]["env"]]
    assert len(names) == len(set(names))
    # Kubernetes expands only variables that come earlier.
    assert names.index("POPULATE_POD") < names.index("OUT")


def expanded(value: str, variables: dict[str, str]) -> str:
    """What Kubernetes makes of a value, by the rules of its API reference for EnvVar.value."""
    return re.sub(
        r"\$\$|\$\(([^)]*)\)",
        lambda found: "$" if found[0] == "$$" else variables.get(found[1], found[0]),
        value,
    )


@pytest.mark.parametrize("key", ['{"a": "$(DJ_PASS)"}', '{"a": "$$"}', '{"a": "5$"}', '{"a": "$$(X)$"}'])
def test_a_key_with_dollars_arrives_as_it_is(key: str) -> None:
    value = env_of(build(one_container(), key=key))["POPULATE_KEY"]
    assert expanded(value, {"DJ_PASS": "secret", "X": "x"}) == key


@given(st.text(alphabet="$()AX {}", max_size=20))
def test_any_text_survives_expansion(text: str) -> None:
    value = env_of(build(one_container(), key=text))["POPULATE_KEY"]
    assert expanded(value, {"A": "a", "X": "x", "AX": "ax"}) == text


def test_the_runner_gets_its_command_file_and_class() -> None:
    template = one_container(
        command=["bash"], args=["-c", "true"], volumeMounts=[{"name": "raw", "mountPath": "/raw"}]
    )
    template["spec"]["volumes"] = [{"name": "raw", "emptyDir": {}}]
    pod = build(template, runner=Runner("lab.ephys:SpikeSorting", "populate-runner-0123"))
    main = pod["spec"]["containers"][0]
    assert main["command"] == ["python3", "/populate-operator/runner.py"]
    assert "args" not in main
    assert env_of(pod)["POPULATE_CLASS"] == "lab.ephys:SpikeSorting"
    assert [one["mountPath"] for one in main["volumeMounts"]] == ["/raw", "/populate-operator"]
    assert pod["spec"]["volumes"] == [
        {"name": "raw", "emptyDir": {}},
        {
            "name": "populate-operator-runner",
            "configMap": {"name": "populate-runner-0123", "defaultMode": 0o444},
        },
    ]


def test_the_runner_is_told_where_the_template_wants_the_message() -> None:
    pod = build(one_container(terminationMessagePath="/tmp/end$(A)"), runner=Runner("a:B", "c"))
    assert pod["spec"]["containers"][0]["terminationMessagePath"] == "/tmp/end$(A)"
    assert expanded(env_of(pod)["POPULATE_TERMINATION_LOG"], {"A": "a"}) == "/tmp/end$(A)"
    plain = build(one_container(), runner=Runner("a:B", "c"))
    assert "POPULATE_TERMINATION_LOG" not in env_of(plain)


def test_without_a_runner_the_users_command_runs() -> None:
    main = build(one_container(command=["make"], args=["one"]))["spec"]["containers"][0]
    assert (main["command"], main["args"]) == (["make"], ["one"])
    assert "POPULATE_CLASS" not in {one["name"] for one in main["env"]}


def test_the_queues_deadline_replaces_the_templates() -> None:
    template = {"spec": {"containers": [{"name": "m", "image": "x"}], "activeDeadlineSeconds": 5}}
    assert build(template, active_deadline_seconds=60)["spec"]["activeDeadlineSeconds"] == 60


def test_pods_are_never_restarted() -> None:
    template = {"spec": {"containers": [{"name": "m", "image": "x"}], "restartPolicy": "Always"}}
    assert build(template)["spec"]["restartPolicy"] == "Never"


def test_a_termination_message_policy_of_the_template_stays() -> None:
    main = build(one_container(terminationMessagePolicy="File"))["spec"]["containers"][0]
    assert main["terminationMessagePolicy"] == "File"


@pytest.mark.parametrize(
    ("factor", "kills", "memory"),
    [(None, 3, "100Mi"), (2.0, 0, "100Mi"), (2.0, 1, "200Mi"), (2.0, 3, "800Mi"), (1.5, 2, "225Mi")],
)
def test_memory_grows_with_each_oom_kill(factor: float | None, kills: int, memory: str) -> None:
    resources = {"requests": {"memory": "100Mi", "cpu": "1"}, "limits": {"memory": "100Mi"}}
    template = one_container(resources=resources)
    template["spec"]["containers"].append({"name": "log", "image": "x", "resources": resources})
    main, sidecar = build(template, memory_factor=factor, oom_kills=kills)["spec"]["containers"]
    assert main["resources"] == {"requests": {"memory": memory, "cpu": "1"}, "limits": {"memory": memory}}
    assert sidecar["resources"] == resources


def test_a_row_that_somebody_wrote_to_still_gets_a_pod() -> None:
    template = one_container(resources={"limits": {"memory": "1Mi"}})
    main = build(template, memory_factor=10.0, oom_kills=4_000_000_000)["spec"]["containers"][0]
    assert main["resources"] == {"limits": {"memory": f"1{'0' * 64}Mi"}}


def test_the_pods_own_memory_budget_grows_too() -> None:
    template = one_container()
    template["spec"]["resources"] = {"limits": {"memory": "1Gi"}}
    spec = build(template, memory_factor=2.0, oom_kills=1)["spec"]
    assert spec["resources"] == {"limits": {"memory": "2048Mi"}}


def test_the_template_is_left_alone_and_the_same_request_builds_the_same_pod() -> None:
    template = one_container(env=[{"name": "A", "value": "1"}], resources={"limits": {"memory": "1Gi"}})
    before = copy.deepcopy(template)
    request = replace(REQUEST, template=template, runner=Runner("a:B", "c"), memory_factor=2.0, oom_kills=1)
    assert build_pod(request) == build_pod(request)
    assert template == before


@pytest.mark.parametrize("template", [{}, {"spec": None}, {"spec": {"containers": []}}])
def test_a_template_without_containers_is_refused(template: Json) -> None:
    with pytest.raises(ValueError, match=r"template\.spec\.containers is empty"):
        build(template)


def test_a_long_queue_name_gives_a_valid_label() -> None:
    queue = replace(REQUEST.queue, name="q" * 253)
    assert len(build(one_container(), queue=queue)["metadata"]["labels"]["populate.datajoint.io/queue"]) == 63
