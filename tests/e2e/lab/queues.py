"""PopulateQueues as tests make and watch them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import ER

from dev.cluster import Cluster
from dev.console import SetupError

Json = dict[str, Any]
RESOURCE = "populatequeues.populate.datajoint.io"


@dataclass(frozen=True)
class Queue:
    """One PopulateQueue, whether or not it exists yet."""

    cluster: Cluster
    namespace: str
    name: str

    def apply(self, spec: Json) -> Queue:
        manifest = {
            "apiVersion": "populate.datajoint.io/v1alpha1",
            "kind": "PopulateQueue",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        }
        self.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
        return self

    def patch(self, **spec: Any) -> None:
        patch = json.dumps({"spec": spec})
        self.kubectl("patch", RESOURCE, self.name, "--type=merge", f"--patch={patch}")

    def delete(self, *, wait: bool = True) -> None:
        self.kubectl("delete", RESOURCE, self.name, f"--wait={str(wait).lower()}", "--timeout=60s")

    def exists(self) -> bool:
        return bool(self.kubectl("get", RESOURCE, self.name, "--ignore-not-found", "-o", "name").strip())

    def get(self) -> Json:
        found: Json = json.loads(self.kubectl("get", RESOURCE, self.name, "-o", "json"))
        return found

    def status(self) -> Json:
        found: Json = self.get().get("status", {})
        return found

    def condition(self, kind: str) -> Json:
        conditions: list[Json] = self.status().get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def pods(self) -> list[Json]:
        """This queue's job pods, oldest first."""
        selector = f"populate.datajoint.io/queue={self.name},populate.datajoint.io/queue-uid"
        found: list[Json] = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def pods_with_finalizer(self) -> list[str]:
        """The names of those of its pods that something still holds."""
        return [pod["metadata"]["name"] for pod in self.pods() if pod["metadata"].get("finalizers")]

    def running(self) -> list[Json]:
        """Its pods whose main container runs."""
        return [pod for pod in self.pods() if pod["status"].get("phase") == "Running"]

    def events(self) -> dict[str, str]:
        """The last message of each reason of its events."""
        field = f"involvedObject.name={self.name}"
        found = json.loads(self.kubectl("get", "events", "--field-selector", field, "-o", "json"))["items"]
        return {event["reason"]: event["message"] for event in found}

    def kubectl(self, *args: str) -> str:
        return self.cluster.kubectl(*args, "-n", self.namespace)

    def describe(self) -> str:
        """What a person would look at when a test fails."""
        return self.kubectl("describe", RESOURCE, self.name) + self.kubectl("get", "pods", "-o", "wide")


def eventually(
    what: str, check: Callable[[], object], *, seconds: float = 180.0, queue: Queue | None = None
) -> None:
    """Wait until `check` is truthy; the deadline is for a hang, not a measure of speed."""
    deadline = time.monotonic() + seconds
    while not (seen := _tolerant(check)):
        if time.monotonic() > deadline:
            story = queue.describe() if queue and queue.exists() else ""
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last seen {seen!r}\n{story}")
        time.sleep(0.2)


def _tolerant(check: Callable[[], object]) -> object:
    try:
        return check()
    except SetupError:  # kubectl met a moment in which the object is not there
        return False
    except pymysql.err.ProgrammingError as error:
        if error.args[0] != ER.NO_SUCH_TABLE:  # the jobs table is declared by the first refresh
            raise
        return False
