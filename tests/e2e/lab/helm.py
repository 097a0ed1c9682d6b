"""Helm in one namespace of the cluster, as a person runs it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from dev.cluster import Cluster, tools
from dev.console import SetupError


@dataclass(frozen=True)
class Helm:
    """`helm` with the cluster and the namespace given."""

    cluster: Cluster
    namespace: str

    def __call__(self, *arguments: str, input: str | None = None) -> str:
        """What Helm prints, logs of hooks among it. Raises SetupError with that when it fails."""
        access = ["--kubeconfig", str(self.cluster.kubeconfig), "--kube-context", self.cluster.context]
        done = subprocess.run(
            [str(tools.binary("helm")), *arguments, "-n", self.namespace, *access],
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SetupError(f"helm {' '.join(arguments)}: {done.stdout}")
        return done.stdout
