"""The operator as a process of this machine: started, listened to and asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dev.cache import REPOSITORY
from dev.cluster import Cluster
from tests.integration import impatient_operator

PROMISED_SECONDS = 10.0  # in which it ends on SIGTERM
GRACE_SECONDS = 30.0  # what Kubernetes grants
PLAIN = ("-m", "populate_operator")

LONG = 600.0  # more patience than any test needs

Process = subprocess.Popen[str]


def impatient(*, silence: float = LONG, one_pass: float = LONG, missed: float = LONG) -> tuple[str, ...]:
    """The program of an operator that asks for a restart after fewer seconds."""
    return ("-m", impatient_operator.__name__, *map(str, (silence, one_pass, missed)))


@contextmanager
def operator(
    kubeconfig: Path, namespace: str, identity: str, program: Sequence[str] = PLAIN
) -> Iterator[Process]:
    """One that serves the namespace it is in."""
    environment = os.environ | {
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "operator"), str(REPOSITORY))),
        "POPULATE_NAMESPACES": namespace,
        "POPULATE_OWN_NAMESPACE": namespace,
        "POPULATE_IDENTITY": identity,
        "POPULATE_HEALTH_PORT": "0",
    }
    command = [sys.executable, *program]
    with TemporaryDirectory() as folder:  # the client's files, which outlive a process that is killed
        environment["TMPDIR"] = folder
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()


def said(process: Process, event: str) -> dict[str, object]:
    """The next log line of that event; waits for it."""
    assert process.stderr is not None
    for line in process.stderr:
        fields: dict[str, object] = json.loads(line)
        if fields["event"] == event:
            return fields
    raise AssertionError(f"the operator ended without saying {event!r}")


def wait_for_reason(process: Process, words: str) -> None:
    """Wait until it says that it waits, with these words."""
    while words not in str(said(process, "waiting")["reason"]):
        pass


def ask(port: object, path: str) -> tuple[int, str]:
    """Status and text of one answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def answers(port: object, path: str, status: int) -> str:
    """Ask as the kubelet does, again and again, until the answer has that status; its text."""
    async with asyncio.timeout(60):
        while True:
            found, text = await asyncio.to_thread(ask, port, path)
            if found == status:
                return text
            await asyncio.sleep(0.2)


def kubeconfig_through(cluster: Cluster, url: str, folder: Path) -> Path:
    """The administrator's kubeconfig with another way to the API server."""
    text = cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json")
    config = json.loads(text)
    # The server's certificate does not name the proxy's address.
    config["clusters"][0]["cluster"] = {"server": url, "insecure-skip-tls-verify": True}
    file = folder / "kubeconfig.json"
    file.write_text(json.dumps(config))
    return file
