"""One of the operator's replicas: a process of this machine that is started again whenever it ends."""

from __future__ import annotations

import signal
import threading

from tests.e2e.lab.gateway import Gateway
from tests.e2e.lab.host_operator import HostOperator


class Replica:
    """Runs until `close`; `way` is its own to the API server."""

    def __init__(self, operator: HostOperator, way: Gateway) -> None:
        self.way, self.name = way, operator.identity
        self._operator = operator
        self._closed = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()
        self._started.wait()

    def send(self, number: signal.Signals) -> None:
        self._operator.send(number)

    def close(self) -> None:
        self._closed.set()
        while self._thread.is_alive():
            self.send(signal.SIGKILL)  # once more where it has just been started again
            self._thread.join(0.5)

    def _supervise(self) -> None:
        while not self._closed.is_set():
            self._operator.start()
            self._started.set()
            self._operator.wait()
            self._closed.wait(1.0)  # the kubelet does not hurry either
