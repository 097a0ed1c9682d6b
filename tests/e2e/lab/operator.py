"""The operator as a Deployment in the cluster, installed by its chart for some namespaces of this session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cache import REPOSITORY, cache_dir
from dev.cluster import Cluster, tools
from dev.console import SetupError, run

CHART = REPOSITORY / "charts" / "populate-operator"
CRD = REPOSITORY / "crds" / "populatequeues.populate.datajoint.io.yaml"


@dataclass(frozen=True)
class Operator:
    """One installed release."""

    cluster: Cluster
    namespace: str
    release: str
    watched: tuple[str, ...]

    def logs(self, *, tail: int = 200) -> str:
        return self.cluster.kubectl(
            "logs", "-n", self.namespace, f"deployment/{self.release}", f"--tail={tail}", "--all-containers"
        )

    def restarts(self) -> int:
        """How often its containers were started again."""
        selector = f"app.kubernetes.io/instance={self.release}"
        counts = self.cluster.kubectl(
            "get", "pod", "-n", self.namespace, "-l", selector,
            "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}",
        )  # fmt: skip
        return sum(int(count) for count in counts.split())

    def scale(self, replicas: int) -> None:
        """Stop it (0) or start it again, and wait until that is done."""
        deployment = f"deployment/{self.release}"
        self.cluster.kubectl("scale", "-n", self.namespace, deployment, f"--replicas={replicas}")
        if replicas:
            self.cluster.kubectl("rollout", "status", "-n", self.namespace, deployment, "--timeout=90s")
        else:
            selector = f"app.kubernetes.io/instance={self.release}"
            self.cluster.kubectl(
                "wait", "-n", self.namespace, "pod", "-l", selector, "--for=delete", "--timeout=60s"
            )


@contextmanager
def installed(cluster: Cluster, watched: Sequence[str], *changes: str) -> Iterator[Operator]:
    """Install by Helm for `watched` namespaces only, so that sessions do not serve each other's queues.

    None serves the whole cluster.

    `changes`: further values of the chart, as `--set` takes them.
    """
    namespace = f"e2e-op-{secrets.token_hex(3)}"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))
    cluster.kubectl("create", "namespace", namespace)
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    values = [
        "image.repository=localhost/populate/operator",
        "image.tag=dev",
        "crds.install=false",
        *([f"watchNamespaces={{{','.join(watched)}}}"] if watched else []),
        *changes,
    ]
    options = [part for value in values for part in ("--set", value)]
    access: list[str | Path] = [
        "--kubeconfig",
        cluster.kubeconfig,
        "--kube-context",
        cluster.context,
        "-n",
        namespace,
    ]
    helm = tools.binary("helm")
    operator = Operator(cluster, namespace, namespace, tuple(watched))
    log = cache_dir("log") / "e2e-helm.log"
    try:
        install = [helm, "install", operator.release, CHART, *access, *options, "--wait", "--timeout", "90s"]
        try:
            run(install, log=log)
        except SetupError as error:
            raise SetupError(f"{error}\n{operator.logs()}") from error
        yield operator
    finally:
        run([helm, "uninstall", operator.release, *access, "--ignore-not-found"], log=log)
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")
