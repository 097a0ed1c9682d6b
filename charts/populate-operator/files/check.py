"""`helm test`: is the operator available, and would the API server take a PopulateQueue.

Runs in the operator's own image. Arguments: the release's namespace and the Deployment's name.
"""

from __future__ import annotations

import sys

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

GROUP, VERSION, PLURAL = "populate.datajoint.io", "v1alpha1", "populatequeues"
QUEUE = {
    "apiVersion": f"{GROUP}/{VERSION}",
    "kind": "PopulateQueue",
    "metadata": {"generateName": "helm-test-"},
    "spec": {
        "database": {"host": "mysql.example", "credentials": {"secretName": "database"}},
        "schema": "helm_test",
        "table": "HelmTest",
        "runner": {"class": "pipeline.tests:HelmTest"},
        "template": {"spec": {"containers": [{"name": "populate", "image": "pipeline:1"}]}},
    },
}


def check_deployment(namespace: str, name: str) -> None:
    """Exits with the number of replicas and where to look, unless all are available."""
    deployment = client.AppsV1Api().read_namespaced_deployment(name, namespace)
    wanted, available = deployment.spec.replicas, deployment.status.available_replicas or 0
    if available < max(wanted, 1):
        sys.exit(
            f"{available} of {wanted} replicas are available: "
            f"see kubectl describe, and kubectl logs, -n {namespace} deployment/{name}"
        )
    print(f"deployment: {available} of {wanted} replicas are available")


def check_queue(namespace: str) -> None:
    """Exits with the API server's own words unless it would take a PopulateQueue; nothing is stored."""
    try:
        queue = client.CustomObjectsApi().create_namespaced_custom_object(
            GROUP, VERSION, namespace, PLURAL, QUEUE, dry_run="All"
        )
    except ApiException as error:
        if error.status == 404:
            sys.exit("the PopulateQueue CRD is not installed: crds.install=true, or kubectl apply -f crds/")
        sys.exit(f"a PopulateQueue was refused: {error.status} {error.reason}: {error.body}")
    if "parallelism" not in queue["spec"]:
        sys.exit("the API server filled in no defaults: the PopulateQueue CRD is not this chart's")
    print("queue: accepted by a dry run, with its defaults")


if __name__ == "__main__":
    config.load_incluster_config()
    check_deployment(*sys.argv[1:])
    check_queue(sys.argv[1])
