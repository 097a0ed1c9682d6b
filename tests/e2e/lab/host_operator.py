"""The operator as a process of this machine, where it can be killed at a chosen moment and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.cache import REPOSITORY
from dev.cluster import Cluster
from populate_operator.queue.points import Point
from tests.e2e.lab import dying_operator

PLAIN = ("-m", "populate_operator")


@dataclass
class HostOperator:
    """Serves one namespace, its own; what it says goes to `log`."""

    cluster: Cluster
    namespace: str
    log: Path
    identity: str = "operator"
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, program: Sequence[str] = PLAIN) -> None:
        environment = os.environ | {
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "operator"), str(REPOSITORY))),
            "POPULATE_NAMESPACES": self.namespace,
            "POPULATE_OWN_NAMESPACE": self.namespace,
            "POPULATE_IDENTITY": self.identity,
            "POPULATE_HEALTH_PORT": "0",
            "TMPDIR": str(self.log.parent),  # for the client's files, which outlive a process that is killed
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, *program], env=environment, stderr=log)

    def start_dying_at(self, point: Point, times: int) -> None:
        """Start one that kills itself at the `times`-th time it comes to `point`."""
        self.start(["-m", dying_operator.__name__, point.name, str(times)])

    def died(self, seconds: float = 90.0) -> bool:
        """Wait for its end: whether that was by SIGKILL. Raises TimeoutExpired while it lives."""
        assert self._process is not None
        return self._process.wait(seconds) == -signal.SIGKILL

    def wait(self) -> int:
        """Wait for its end, however it comes; its exit status."""
        assert self._process is not None
        return self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing where it has ended."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
