"""Bad manifests, and the message that each gets from the API server at `kubectl apply`.

Every message must name the field, so that its reader knows where to look. None among changes removes one.
"""

from __future__ import annotations

from typing import Any

import pytest

from dev.console import SetupError
from tests.integration.manifests import Api, manifest


def template(**fields: Any) -> dict[str, Any]:
    return {"template": fields}


def database(**fields: Any) -> dict[str, Any]:
    return {"database": fields}


def rules(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"failureRules": list(entries)}


CASES: list[tuple[str, dict[str, Any], str]] = [
    # the database
    ("no database", {"database": None}, "spec.database: Required value"),
    ("no host", database(host=None), "spec.database.host: Required value"),
    ("empty host", database(host=""), 'spec.database.host: Invalid value: ""'),
    ("host is a URL", database(host="mysql://db"), 'spec.database.host: Invalid value: "mysql://db"'),
    ("port 0", database(port=0), "spec.database.port: Invalid value: 0"),
    ("port too large", database(port=65536), "spec.database.port: Invalid value: 65536"),
    ("port is text", database(port="3306"), 'spec.database.port: Invalid value: "string"'),
    ("no credentials", database(credentials=None), "spec.database.credentials: Required value"),
    (
        "no Secret",
        database(credentials={"secretName": None}),
        "spec.database.credentials.secretName: Required value",
    ),
    (
        "Secret in another namespace",
        database(credentials={"secretName": "other/dj"}),
        'spec.database.credentials.secretName: Invalid value: "other/dj"',
    ),
    (
        "password in the manifest",
        database(credentials={"password": "x"}),
        'unknown field "spec.database.credentials.password"',
    ),
    (
        "key of the Secret",
        database(credentials={"usernameKey": "user name"}),
        'spec.database.credentials.usernameKey: Invalid value: "user name"',
    ),
    ("TLS mode", database(tls={"mode": "require"}), 'spec.database.tls.mode: Unsupported value: "require"'),
    (
        "a CA that would not be used",
        database(tls={"mode": "Required", "caSecretName": "ca"}),
        "spec.database.tls.caSecretName: Invalid value",
    ),
    # the table
    ("no schema", {"schema": None}, "spec.schema: Required value"),
    ("empty schema", {"schema": ""}, 'spec.schema: Invalid value: ""'),
    ("schema with a dot", {"schema": "lab.ephys"},
     'spec.schema: Invalid value: "lab.ephys": must be the name of a MySQL database'),
    ("schema too long", {"schema": "s" * 65}, "spec.schema: Too long: may not be more than 64"),
    ("no table", {"table": None}, "spec.table: Required value"),
    ("a manual table", {"table": "session"}, "spec.table: Invalid value"),
    ("a lookup table", {"table": "#method"},
     'spec.table: Invalid value: "#method": must be the class name of a Computed or Imported table'),
    ("a part table", {"table": "Sorting.Unit"},
     'spec.table: Invalid value: "Sorting.Unit": must be the class name of a Computed'),
    ("table with a schema", {"table": "`ephys`.`__sorting`"}, "spec.table: Invalid value"),
    # keys
    ("query and class", {"keySource": {"query": "SELECT 1", "fromClass": True}, "runner": {"class": "m:C"}},
     "spec.keySource: Invalid value: query and fromClass exclude each other"),
    ("class without a runner", {"keySource": {"fromClass": True}}, "spec.keySource.fromClass: Invalid value"),
    ("empty query", {"keySource": {"query": ""}}, 'spec.keySource.query: Invalid value: ""'),
    ("not a SELECT", {"keySource": {"query": "DROP TABLE x"}},
     'spec.keySource.query: Invalid value: "DROP TABLE x": must be one SELECT'),
    ("restrictions as text", {"restrictions": "id < 5"}, 'spec.restrictions: Invalid value: "string"'),
    ("empty restriction", {"restrictions": [""]}, 'spec.restrictions[0]: Invalid value: ""'),
    ("too many restrictions", {"restrictions": ["a = 1"] * 33}, "spec.restrictions: Too many: 33"),
    # the queue
    ("interval 0", {"refresh": {"intervalSeconds": 0}}, "spec.refresh.intervalSeconds: Invalid value: 0"),
    ("negative delay", {"refresh": {"delaySeconds": -1}}, "spec.refresh.delaySeconds: Invalid value: -1"),
    ("interval with a unit", {"refresh": {"intervalSeconds": "1m"}},
     "spec.refresh.intervalSeconds: Invalid value"),
    ("orphan timeout 0", {"refresh": {"orphanTimeoutSeconds": 0}},
     "spec.refresh.orphanTimeoutSeconds: Invalid value: 0"),
    ("priority 128", {"priority": 128}, "spec.priority: Invalid value: 128"),
    ("priority -129", {"priority": -129}, "spec.priority: Invalid value: -129"),
    ("keepCompleted as text", {"keepCompleted": "yes"}, 'spec.keepCompleted: Invalid value: "string"'),
    ("negative parallelism", {"parallelism": -1}, "spec.parallelism: Invalid value: -1"),
    ("half a pod", {"parallelism": 1.5}, 'spec.parallelism: Invalid value: "number"'),
    ("unknown field", {"paralellism": 5}, 'unknown field "spec.paralellism"'),
    # failures
    ("negative retries", {"retry": {"limit": -1}}, "spec.retry.limit: Invalid value: -1"),
    ("backoff over its cap", {"retry": {"backoffSeconds": 20, "maxBackoffSeconds": 10}},
     "spec.retry.backoffSeconds: Invalid value"),
    ("memory factor 1", {"retry": {"memoryFactor": 1}}, "spec.retry.memoryFactor: Invalid value: 1"),
    ("memory factor 11", {"retry": {"memoryFactor": 11}}, "spec.retry.memoryFactor: Invalid value: 11"),
    ("rule without a match", rules({"action": "Error"}), "spec.failureRules[0]: Invalid value"),
    ("rule with two matches", rules({"exitCodes": [1], "reasons": ["OOMKilled"], "action": "Error"}),
     "spec.failureRules[0]: Invalid value: a failure rule has exactly one of exitCodes and reasons"),
    ("rule without an action", rules({"exitCodes": [1]}), "spec.failureRules[0].action: Required value"),
    ("unknown action", rules({"exitCodes": [1], "action": "Skip"}),
     'spec.failureRules[0].action: Unsupported value: "Skip"'),
    ("exit code 0", rules({"exitCodes": [0], "action": "Retry"}),
     "spec.failureRules[0].exitCodes[0]: Invalid value: 0"),
    ("exit code 256", rules({"exitCodes": [256], "action": "Retry"}),
     "spec.failureRules[0].exitCodes[0]: Invalid value: 256"),
    ("no exit code", rules({"exitCodes": [], "action": "Retry"}),
     "spec.failureRules[0].exitCodes: Invalid value: 0"),
    # time and retention
    ("run time 0", {"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: Invalid value: 0"),
    ("start deadline 0", {"startDeadlineSeconds": 0}, "spec.startDeadlineSeconds: Invalid value: 0"),
    ("lost pods at once", {"lostPodTimeoutSeconds": 0}, "spec.lostPodTimeoutSeconds: Invalid value: 0"),
    ("keep -1 pods", {"podRetention": {"failed": -1}}, "spec.podRetention.failed: Invalid value: -1"),
    ("keep for ever", {"podRetention": {"ttlSeconds": -1}},
     "spec.podRetention.ttlSeconds: Invalid value: -1"),
    # the runner and the pods
    ("runner without a class", {"runner": {}}, "spec.runner.class: Required value"),
    ("class without a module", {"runner": {"class": "SpikeSorting"}},
     'spec.runner.class: Invalid value: "SpikeSorting": must have the form package.module:Class'),
    ("class as a file", {"runner": {"class": "ephys/sorting.py:SpikeSorting"}},
     "spec.runner.class: Invalid value"),
    ("no template", {"template": None}, "spec.template: Required value"),
    ("template without a spec", template(spec=None), "spec.template.spec: Required value"),
    ("no containers", template(spec={"containers": None}), "spec.template.spec.containers: Required value"),
    ("zero containers", template(spec={"containers": []}), "spec.template.spec.containers: Invalid value: 0"),
    ("container without a name", template(spec={"containers": [{"image": "x"}]}),
     "spec.template.spec.containers[0].name: Required value"),
    ("restarts", template(spec={"restartPolicy": "OnFailure"}),
     'spec.template.spec.restartPolicy: Unsupported value: "OnFailure"'),
    ("reserved label", template(metadata={"labels": {"populate.datajoint.io/queue": "x"}}),
     "spec.template.metadata.labels: Invalid value"),
    ("reserved annotation", template(metadata={"annotations": {"populate.datajoint.io/key": "{}"}}),
     "spec.template.metadata.annotations: Invalid value"),
    ("label that is no text", template(metadata={"labels": {"tier": 1}}),
     'spec.template.metadata.labels.tier: Invalid value: "integer"'),
    ("no spec", {"": None}, "spec: Required value"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_bad_manifest_is_refused_with_a_message_that_names_the_field(
    api: Api, changes: dict[str, Any], message: str
) -> None:
    bad = manifest(**changes)
    if "" in changes:
        del bad["spec"]
    with pytest.raises(SetupError) as refused:
        api.create(bad, dry_run=True)
    assert message in str(refused.value)


def test_a_name_too_long_for_a_label_is_refused(api: Api) -> None:
    long = manifest() | {"metadata": {"name": "q" * 64}}
    with pytest.raises(SetupError, match=r"metadata\.name must have at most 63 characters"):
        api.create(long, dry_run=True)
