"""The operator as a process against a real API server.

Cases: it leads, answers its probes and its metrics, and ends within its grace on SIGTERM, as leader and as
follower; the lease is free for the next.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dev.cache import REPOSITORY
from dev.cluster import Cluster, current

GRACE_SECONDS = 10.0  # what the design grants; Kubernetes grants 30


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    found = current()
    found.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    return found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"populate-test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def operator(cluster: Cluster, namespace: str, identity: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig),
        "PYTHONPATH": str(REPOSITORY / "operator"),
        "POPULATE_NAMESPACES": namespace,
        "POPULATE_OWN_NAMESPACE": namespace,
        "POPULATE_IDENTITY": identity,
        "POPULATE_HEALTH_PORT": "0",
    }
    command = [sys.executable, "-m", "populate_operator"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The first log line of that event; waits for it."""
    assert process.stderr is not None
    for line in process.stderr:
        fields: dict[str, object] = json.loads(line)
        if fields["event"] == event:
            return fields
    raise AssertionError(f"the operator ended without saying {event!r}")


def ask(port: object, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_leader_answers_and_ends_on_sigterm(cluster: Cluster, namespace: str) -> None:
    with operator(cluster, namespace, "one") as process:
        port = said(process, "operator started")["port"]
        assert said(process, "leading")["identity"] == "one"
        assert ask(port, "/livez") == (200, "ok")
        assert ask(port, "/readyz") == (200, "ok")
        status, metrics = ask(port, "/metrics")
        assert status == 200
        assert re.search(r"^populate_operator_leader 1", metrics, re.MULTILINE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE_SECONDS) == 0
    lease = json.loads(cluster.kubectl("get", "lease", "populate-operator", "-n", namespace, "-o", "json"))
    assert not lease["spec"].get("holderIdentity")


def test_a_follower_is_ready_and_leads_when_the_leader_ends(cluster: Cluster, namespace: str) -> None:
    with operator(cluster, namespace, "one") as leader:
        said(leader, "leading")
        with operator(cluster, namespace, "two") as follower:
            said(follower, "operator started")
            leader.send_signal(signal.SIGTERM)
            assert leader.wait(GRACE_SECONDS) == 0
            assert said(follower, "leading")["identity"] == "two"
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(GRACE_SECONDS) == 0


def test_a_follower_ends_on_sigterm(cluster: Cluster, namespace: str) -> None:
    with operator(cluster, namespace, "one") as leader:
        said(leader, "leading")
        with operator(cluster, namespace, "two") as follower:
            said(follower, "operator started")
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(GRACE_SECONDS) == 0


def test_a_namespace_that_does_not_exist_is_named(cluster: Cluster) -> None:
    with operator(cluster, "populate-test-absent", "one") as process:
        assert process.stderr is not None
        assert process.wait(60) == 1
        assert "populate-test-absent" in process.stderr.read()
