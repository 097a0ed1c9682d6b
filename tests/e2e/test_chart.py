"""The chart and the kustomize base on a real cluster.

- the commands of the notes work; `helm test` says what is right or wrong, and leaves nothing behind
- of two replicas the disruption budget and the Service see both; an upgrade replaces both
- the Service brings out the metrics that the alerts ask for
- `kubectl apply -k` of an overlay on the base gives a working operator
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.chart import BASE_NAMESPACE, CHART
from dev.cluster import Cluster
from dev.console import SetupError
from dev.crds import BASE
from dev.images.catalogue import OPERATOR
from tests.e2e.lab.helm import Helm
from tests.e2e.lab.operator import Operator
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.workplace import Workplace

IMAGE, TAG = OPERATOR.rsplit(":", 1)

OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
nameSuffix: -{namespace}
resources: [{base}]
images:
  - {{name: ghcr.io/populate-operator/populate-operator, newName: {image}, newTag: {tag}}}
patches:
  - target: {{kind: Deployment}}
    patch: |-
      apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: populate-operator}}
      spec:
        template:
          spec:
            containers:
              - name: operator
                env: [{{name: POPULATE_NAMESPACES, value: {namespace}}}]
"""


@pytest.fixture
def helm(cluster: Cluster, namespace: str) -> Iterator[Helm]:
    """Helm in the test's namespace; its release goes with the test."""
    helm = Helm(cluster, namespace)
    yield helm
    helm("uninstall", namespace)


def install(helm: Helm, *options: str, **values: object) -> None:
    """Install or upgrade the release that is named after its namespace and serves that alone."""
    fixed = {"image": {"repository": IMAGE, "tag": TAG}, "crds": {"install": False}}
    told = json.dumps(fixed | {"watchNamespaces": [helm.namespace]} | values)
    helm("upgrade", "--install", helm.namespace, str(CHART), "--values", "-", *options, input=told)


@pytest.fixture
def overlaid(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[str]:
    """The name of a Deployment from the base, for the test's namespace alone."""
    base = os.path.relpath(BASE, tmp_path.resolve())
    text = OVERLAY.format(namespace=namespace, base=base, image=IMAGE, tag=TAG)
    (tmp_path / "kustomization.yaml").write_text(text)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(tmp_path))
    name = f"populate-operator-{namespace}"
    yield name
    # Not by -k: the CRD belongs to everyone on this cluster, and to their queues.
    cluster.kubectl("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")


def hooks_left(cluster: Cluster, namespace: str, release: str) -> str:
    kinds = "pods,serviceaccounts,roles,rolebindings"
    selector = f"app.kubernetes.io/name=populate-operator-test,app.kubernetes.io/instance={release}"
    return cluster.kubectl("get", kinds, "-n", namespace, "-l", selector, "-o", "name")


def test_commands_of_the_notes_lead_on(cluster: Cluster, operator: Operator) -> None:
    helm = Helm(cluster, operator.namespace)
    notes = helm("get", "notes", operator.release)
    wait, check, follow = (line.split()[1:] for line in notes.splitlines() if line.startswith(" " * 5))
    assert "successfully rolled out" in cluster.kubectl(*wait)
    told = helm(*check)
    assert "deployment: 1 of 1 replicas are available" in told
    assert "queue: accepted by a dry run, with its defaults" in told
    assert hooks_left(cluster, operator.namespace, operator.release) == ""
    assert follow.pop() == "--watch"
    cluster.kubectl(*follow)


def test_helm_test_says_what_is_wrong(cluster: Cluster, helm: Helm) -> None:
    install(helm, serviceAccount={"create": False, "name": "absent"})  # so no pod can be
    with pytest.raises(SetupError, match="0 of 1 replicas are available: see kubectl describe"):
        helm("test", helm.namespace)
    assert hooks_left(cluster, helm.namespace, helm.namespace) == ""


def test_two_replicas_are_counted_and_replaced(cluster: Cluster, helm: Helm) -> None:
    def shown(kind: str, path: str) -> str:
        return cluster.kubectl("get", kind, "-n", helm.namespace, "-o", f"jsonpath={path}")

    install(helm, "--wait", replicas=2)
    healthy = "{.items[0].status.currentHealthy} {.items[0].status.disruptionsAllowed}"
    eventually("both in the budget", lambda: shown("poddisruptionbudgets", healthy) == "2 1")
    addresses = "{.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}"
    eventually("both behind the Service", lambda: len(shown("endpointslices", addresses).split()) == 2)
    before = set(shown("pods", "{.items[*].metadata.uid}").split())
    install(helm, "--wait", replicas=2, podAnnotations={"rolled": "out"})
    newest = "{.items[?(@.metadata.annotations.rolled=='out')].metadata.uid}"
    assert len(set(shown("pods", newest).split()) - before) == 2


def test_service_brings_out_the_metrics_of_the_alerts(operator: Operator, workplace: Workplace) -> None:
    queue = workplace.queue()
    spec = workplace.spec("Spikes", workplace.template())
    queue.apply(spec | {"database": spec["database"] | {"host": "database.invalid"}})
    series = f'populate_queue_condition{{namespace="{queue.namespace}",queue="{queue.name}",type='
    eventually(
        "the queue's trouble as a metric",
        lambda: f'{series}"DatabaseReachable"}} 0.0' in metrics(operator),
        queue=queue,
    )
    assert "populate_operator_leader 1.0" in metrics(operator)
    queue.delete()
    eventually("no metric of a queue that is gone", lambda: series not in metrics(operator))


def metrics(operator: Operator) -> str:
    service = f"/api/v1/namespaces/{operator.namespace}/services/{operator.release}:metrics"
    return operator.cluster.kubectl("get", "--raw", f"{service}/proxy/metrics")


def test_kustomize_overlay_gives_a_working_operator(cluster: Cluster, namespace: str, overlaid: str) -> None:
    cluster.kubectl("rollout", "status", "-n", namespace, f"deployment/{overlaid}", "--timeout=90s")
    queue = Queue(cluster, namespace, "overlaid")
    queue.apply(
        {
            "database": {"host": "database.invalid", "credentials": {"secretName": "absent"}},
            "schema": "lab",
            "table": "Spikes",
            "template": {"spec": {"containers": [{"name": "populate", "image": "pipeline:1"}]}},
        }
    )
    eventually("an answer", lambda: queue.condition("Ready").get("status") == "False", queue=queue)
    assert BASE_NAMESPACE not in cluster.kubectl("get", "deployment", overlaid, "-n", namespace, "-o", "yaml")
    queue.delete()
