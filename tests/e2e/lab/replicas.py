"""The replicas of an installed operator as processes of this machine: which leads, and what befalls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.lab.operator import Operator

Json = dict[str, Any]


@dataclass(frozen=True)
class Replica:
    """One pod of the operator; `address` is the pod's."""

    name: str
    uid: str
    address: str

    def pid(self, program: str = "populate-operator") -> int:
        """The process of its pod that runs `program`; LookupError where there is none at the moment."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_ours = f"pod{self.uid}" in (folder / "cgroup").read_text()
                if is_ours and program in (folder / "cmdline").read_text():
                    return int(folder.name)
            except OSError:  # it ended meanwhile
                continue
        raise LookupError(f"no {program} in pod {self.name}")

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        os.kill(self.pid(), number)

    @contextmanager
    def cut_off(self, address: str) -> Iterator[None]:
        """Drop without a word what it sends to `address`, of connections that are open and of new ones."""
        rule = ["OUTPUT", "-d", address, "-j", "DROP"]
        self._filter("-A", *rule)
        try:
            yield
        finally:
            self._filter("-D", *rule)

    def _filter(self, *rule: str) -> None:
        holder = self.pid("pause")  # keeps the pod's network while the operator is started again
        subprocess.run(["nsenter", "-t", str(holder), "-n", "iptables", "-w", *rule], check=True)


def lease_of(operator: Operator) -> Json:
    """The Lease's spec."""
    found = operator.cluster.kubectl(
        "get", "lease", "populate-operator", "-n", operator.namespace, "-o", "json"
    )
    spec: Json = json.loads(found)["spec"]
    return spec


def leader_of(operator: Operator) -> Replica:
    """The replica that holds the Lease."""
    holder = lease_of(operator)["holderIdentity"]
    found = operator.cluster.kubectl("get", "pod", holder, "-n", operator.namespace, "-o", "json")
    pod: Json = json.loads(found)
    return Replica(holder, pod["metadata"]["uid"], pod["status"]["podIP"])


def restarts_of(operator: Operator, name: str) -> int:
    """How often the replica's container was started again."""
    path = "jsonpath={.status.containerStatuses[0].restartCount}"
    return int(operator.cluster.kubectl("get", "pod", name, "-n", operator.namespace, "-o", path))
