"""How each fault is inflicted, and what the victim needs to be whole again."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dev.cluster import nodes, tools
from dev.cluster.control_plane import ControlPlane
from dev.cluster.daemons import Daemon, read_pid
from dev.cluster.node import Node
from dev.console import SetupError
from dev.databases import Instance
from tests.chaos.replica import Replica
from tests.chaos.schedule import TARGETS, Fault, Inflicted, Kind
from tests.e2e.lab.database import USER
from tests.e2e.lab.gateway import Gateway
from tests.e2e.lab.queues import Queue
from tests.e2e.lab.workplace import Workplace

VICTIM_SECONDS = 30.0  # no replica may lead for that long
DELAY_SECONDS = 0.2  # of each piece of delayed traffic
NEVER_DONE = ("NotFound", "connection refused", "connect: ")  # kubectl's words: the request changed nothing


class NoVictim(Exception):
    """There is nothing to break at the moment."""


@dataclass
class Breaker:
    """Breaks the parts of one run; `disrupted` are the pods that it deleted or evicted, and how."""

    place: Workplace
    queue: Queue
    instance: Instance
    way: Gateway
    replicas: list[Replica]
    disrupted: dict[str, Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._busy = {target: threading.Lock() for target in TARGETS.values()}
        state, programs = self.place.cluster.state, tools.binaries(nodes.PROGRAMS)
        self._plane = ControlPlane.of(state, programs)
        self._node = Node(self._plane, state.layout().node(1), programs)

    def inflict(self, fault: Fault) -> Inflicted:
        """Break it, wait as long as the fault lasts, and mend it.

        Raises NoVictim where no pod can be removed, SetupError where something cannot be mended.
        """
        with self._busy[fault.kind.target]:  # the one before may need longer than planned to be whole
            began = time.monotonic()
            self._break(fault)
            victim = self._replica(fault).name if fault.kind.target == "operator" else ""
            return Inflicted(fault, began, time.monotonic(), victim)

    def _break(self, fault: Fault) -> None:
        plane = self._plane
        match fault.kind:
            case Kind.OPERATOR_KILLED:
                self._replica(fault).send(signal.SIGKILL)  # started again, as a kubelet would
            case Kind.OPERATOR_FROZEN:
                self._freeze(fault)
            case Kind.OPERATOR_CUT_OFF:
                self._obstruct(self._replica(fault).way, fault)
            case Kind.API_SERVER_KILLED:
                self._restart(plane.api_server(), plane.is_api_ready, fault)
            case Kind.ETCD_KILLED:
                self._restart(plane.etcd(), plane.is_etcd_ready, fault)
            case Kind.KUBELET_KILLED:
                kubelet = next(one for one in self._node.daemons() if one.name == "kubelet")
                self._restart(kubelet, kubelet.is_running, fault)
            case Kind.DATABASE_KILLED:
                self.instance.kill()
                time.sleep(fault.seconds)
                self.instance.start()
            case Kind.CONNECTIONS_KILLED:
                self.place.drop_connections(USER)  # of pods, operators and the observer, not of the worker
            case Kind.POD_DELETED | Kind.POD_FORCE_DELETED | Kind.POD_EVICTED:
                self._remove_pod(fault)
            case _:
                self._obstruct(self.way, fault)

    def _replica(self, fault: Fault) -> Replica:
        return self.replicas[fault.choice % len(self.replicas)]

    def _freeze(self, fault: Fault) -> None:
        replica = self._replica(fault)
        replica.send(signal.SIGSTOP)
        time.sleep(fault.seconds)
        replica.send(signal.SIGCONT)

    def _restart(self, daemon: Daemon, is_ready: Callable[[], bool], fault: Fault) -> None:
        kill(daemon)
        time.sleep(fault.seconds)
        daemon.start()
        daemon.wait(is_ready)

    def _obstruct(self, way: Gateway, fault: Fault) -> None:
        match fault.kind:
            case Kind.DATABASE_REFUSED:
                way.refuse()
            case Kind.DATABASE_SLOW:
                way.slow_down(DELAY_SECONDS)
            case Kind.CONNECTIONS_FORGOTTEN:
                way.forget()
            case _:
                way.silence()
        time.sleep(fault.seconds)
        way.mend()

    def _remove_pod(self, fault: Fault) -> None:
        """Remove one that runs, as soon as there is one. Raises NoVictim when there is none for long."""
        deadline = time.monotonic() + VICTIM_SECONDS
        while time.monotonic() < deadline:
            candidates = self._running()
            if candidates and self._removed(candidates[fault.choice % len(candidates)], fault.kind):
                return
            time.sleep(0.2)
        raise NoVictim(f"no pod ran within {VICTIM_SECONDS:.0f} s")

    def _running(self) -> list[str]:
        """The pods that run and were let be so far."""
        try:
            names = [pod["metadata"]["name"] for pod in self.queue.running()]
        except SetupError:  # the API server is away
            return []
        return [name for name in names if name not in self.disrupted]

    def _removed(self, name: str, kind: Kind) -> bool:
        """Whether it may be removed now: the answer that it was can be lost."""
        self.disrupted[name] = kind
        try:
            match kind:
                case Kind.POD_DELETED:
                    self.queue.kubectl("delete", "pod", name, "--wait=false")
                case Kind.POD_FORCE_DELETED:
                    self.queue.kubectl("delete", "pod", name, "--wait=false", "--grace-period=0", "--force")
                case _:
                    self._evict(name)
        except SetupError as error:
            if any(words in str(error) for words in NEVER_DONE):
                del self.disrupted[name]
                return False
        return True

    def _evict(self, name: str) -> None:
        namespace = self.queue.namespace
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
        self.place.cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def kill(daemon: Daemon) -> None:
    """Kill a program of the cluster and wait until it is gone."""
    os.kill(read_pid(daemon.pid_file), signal.SIGKILL)
    while daemon.is_running():
        time.sleep(0.05)
