"""The cluster is a Kubernetes that the product's own tests can rely on, whoever provides it.

- the API server is ready, and so is every node
- a pod runs, its log can be read and commands run inside it
- a pod finds services by name and reaches the API through one, as its own service account, no more
- a pod over its memory limit is killed for it
- cluster-up again changes nothing
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dev.cluster import Cluster
from dev.console import SetupError

IMAGE = "localhost/populate/operator:dev"
ASK_API = """
import json, socket, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount"
token = open(f"{account}/token").read()
context = ssl.create_default_context(cafile=f"{account}/ca.crt")
url = "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews"
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
body = b'{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'
answer = urllib.request.urlopen(urllib.request.Request(url, body, headers), context=context)
print(json.load(answer)["status"]["userInfo"]["username"])
"""
RESOLVE = "import socket; print(socket.gethostbyname('kubernetes.default'))"
EAT_MEMORY = "import time; time.sleep(3)\nheld = []\nwhile True: held.append(bytearray(8 << 20))"


def pod(name: str, code: str, *, limits: dict[str, str] | None = None) -> str:
    """A pod of one Python program."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", code],
        "resources": {"limits": limits or {}},
    }
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def run_to_end(cluster: Cluster, namespace: str, manifest: str, phase: str) -> dict[str, Any]:
    """Create a pod, wait until its phase is `phase`, return its status."""
    name = json.loads(manifest)["metadata"]["name"]
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=manifest)
    wait = f"--for=jsonpath={{.status.phase}}={phase}"
    cluster.kubectl("wait", wait, "-n", namespace, f"pod/{name}", "--timeout=120s")
    status: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", name, "-n", namespace, "-o", "json"))[
        "status"
    ]
    return status


def test_api_server_and_every_node_are_ready(cluster: Cluster) -> None:
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    assert ready
    assert set(ready.values()) == {"True"}


def test_pod_runs_and_its_log_is_read(cluster: Cluster, namespace: str) -> None:
    status = run_to_end(cluster, namespace, pod("hello", "print('hello from a pod')"), "Succeeded")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert cluster.kubectl("logs", "hello", "-n", namespace) == "hello from a pod\n"


def test_command_runs_inside_a_pod(cluster: Cluster, namespace: str) -> None:
    run_to_end(cluster, namespace, pod("waiting", "import time; time.sleep(600)"), "Running")
    said = cluster.kubectl("exec", "waiting", "-n", namespace, "--", "python3", "-c", "print(6 * 7)")
    assert said == "42\n"
    with pytest.raises(SetupError, match="exit code 3"):
        cluster.kubectl("exec", "waiting", "-n", namespace, "--", "python3", "-c", "raise SystemExit(3)")


def test_pod_finds_services_by_name(cluster: Cluster, namespace: str) -> None:
    run_to_end(cluster, namespace, pod("resolve", RESOLVE), "Succeeded")
    address = cluster.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert cluster.kubectl("logs", "resolve", "-n", namespace).strip() == address


def test_pod_reaches_the_api_as_its_own_account(cluster: Cluster, namespace: str) -> None:
    run_to_end(cluster, namespace, pod("ask", ASK_API), "Succeeded")
    account = f"system:serviceaccount:{namespace}:default"
    assert cluster.kubectl("logs", "ask", "-n", namespace).strip() == account
    with pytest.raises(SetupError, match="no"):
        cluster.kubectl("auth", "can-i", "list", "secrets", "-n", namespace, f"--as={account}")


def test_pod_over_its_memory_limit_is_killed(cluster: Cluster, namespace: str) -> None:
    status = run_to_end(cluster, namespace, pod("eater", EAT_MEMORY, limits={"memory": "64Mi"}), "Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_cluster_up_again_changes_nothing(cluster: Cluster) -> None:
    def identity() -> list[str]:
        uid = cluster.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
        nodes = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}")
        return [uid, nodes, cluster.kubeconfig.read_text()]

    before = identity()
    command = [sys.executable, "-m", "dev.cluster", "up"]
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "is up already" in again.stderr
    assert identity() == before
