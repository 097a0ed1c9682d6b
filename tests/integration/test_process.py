"""The operator as a process against a real API server.

Cases: it leads, answers its probes and its metrics, and ends within its grace on SIGTERM, as leader and as
follower; the lease is free for the next.
"""

from __future__ import annotations

import json
import re
import signal

from dev.cluster import Cluster
from tests.integration.manifests import Api
from tests.integration.processes import GRACE_SECONDS, PROMISED_SECONDS, ask, operator, said


def test_a_leader_answers_and_ends_on_sigterm(here: Api) -> None:
    with operator(here.cluster.kubeconfig, here.namespace, "one") as process:
        port = said(process, "operator started")["port"]
        assert said(process, "leading")["identity"] == "one"
        assert ask(port, "/livez") == (200, "ok")
        assert ask(port, "/readyz") == (200, "ok")
        status, metrics = ask(port, "/metrics")
        assert status == 200
        assert re.search(r"^populate_operator_leader 1", metrics, re.MULTILINE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PROMISED_SECONDS) == 0
    lease = json.loads(here.kubectl("get", "lease", "populate-operator", "-o", "json"))
    assert not lease["spec"].get("holderIdentity")


def test_a_follower_is_ready_and_leads_when_the_leader_ends(here: Api) -> None:
    with operator(here.cluster.kubeconfig, here.namespace, "one") as leader:
        said(leader, "leading")
        with operator(here.cluster.kubeconfig, here.namespace, "two") as follower:
            said(follower, "operator started")
            leader.send_signal(signal.SIGTERM)
            assert leader.wait(GRACE_SECONDS) == 0
            assert said(follower, "leading")["identity"] == "two"
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(GRACE_SECONDS) == 0


def test_a_follower_ends_on_sigterm(here: Api) -> None:
    with operator(here.cluster.kubeconfig, here.namespace, "one") as leader:
        said(leader, "leading")
        with operator(here.cluster.kubeconfig, here.namespace, "two") as follower:
            said(follower, "operator started")
            follower.send_signal(signal.SIGTERM)
            assert follower.wait(GRACE_SECONDS) == 0


def test_a_namespace_that_does_not_exist_is_named(knowing: Cluster) -> None:
    with operator(knowing.kubeconfig, "populate-test-absent", "one") as process:
        assert process.stderr is not None
        assert process.wait(300) == 1
        assert "populate-test-absent" in process.stderr.read()
