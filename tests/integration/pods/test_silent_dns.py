"""The operator as a process whose DNS never answers: it ends on SIGTERM nevertheless."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.integration.manifests import Api, manifest
from tests.integration.processes import PROMISED_SECONDS, operator, said

# The name of a Service is asked of a server that is silent; everything else is as ever.
SILENT = """
import json, socket, sys, time
ask = socket.getaddrinfo
def getaddrinfo(host, *rest, **named):
    if str(host).endswith(".svc"):
        print(json.dumps({"event": "asked", "host": host}), file=sys.stderr, flush=True)
        time.sleep(600)
    return ask(host, *rest, **named)
socket.getaddrinfo = getaddrinfo
sys.argv[1:] = []
from populate_operator.__main__ import main
main()
"""


@pytest.fixture
def queue(here: Api) -> Iterator[Api]:
    """The namespace of a queue whose database is a bare name, which may be that of a Service."""
    account = ("--from-literal=username=u", "--from-literal=password=p")
    here.kubectl("create", "secret", "generic", "dj", *account)
    here.create(manifest(database={"host": "silent"}))
    yield here
    here.abandon_queues()


def test_a_look_up_that_hangs_does_not_keep_the_operator(queue: Api) -> None:
    with operator(queue.cluster.kubeconfig, queue.namespace, "one", ("-c", SILENT)) as process:
        assert said(process, "asked")["host"] == f"silent.{queue.namespace}.svc"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PROMISED_SECONDS) == 0
    lease = json.loads(queue.kubectl("get", "lease", "populate-operator", "-o", "json"))
    assert not lease["spec"].get("holderIdentity")
