"""Helm releases that a test installs, upgrades and removes itself."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cache import REPOSITORY
from dev.cluster import Cluster
from dev.images.catalogue import OPERATOR
from tests.e2e.lab.helm import Helm

CRD = "crds/populatequeues.populate.datajoint.io.yaml"


@dataclass(frozen=True)
class Version:
    """One version of the operator: its sources and its image."""

    source: Path
    image: str

    @property
    def chart(self) -> str:
        return str(self.source / "charts" / "populate-operator")

    def crd(self) -> str:
        return (self.source / CRD).read_text()

    def apply_crd(self, cluster: Cluster) -> None:
        file = str(self.source / CRD)
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", file)
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", file)


@dataclass(frozen=True)
class Release:
    """One Helm release in a namespace of its own; `watched` are those that it serves."""

    helm: Helm
    watched: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.helm.namespace

    def uninstall(self) -> None:
        """Remove it, and wait until its operator is gone: Helm waits for its own objects, not for pods."""
        self.helm("uninstall", self.name, "--ignore-not-found", "--wait", "--timeout", "60s")
        selector = f"app.kubernetes.io/instance={self.name}"
        gone = ["wait", "--for=delete", "pod", "-l", selector, "-n", self.name, "--timeout=60s"]
        self.helm.cluster.kubectl(*gone)

    def upgrade(self, version: Version) -> None:
        """Install or upgrade as docs/upgrade.md says: the CRD first."""
        version.apply_crd(self.helm.cluster)
        repository, tag = version.image.rsplit(":", 1)
        values = f"image.repository={repository},image.tag={tag},crds.install=false"
        options = [
            "--set",
            f"{values},watchNamespaces={{{','.join(self.watched)}}}",
            "--wait",
            "--timeout",
            "90s",
        ]
        self.helm("upgrade", "--install", self.name, version.chart, *options)

    def image(self) -> str:
        """Of the operator's one pod that is not on its way out."""
        selector = f"app.kubernetes.io/instance={self.name}"
        found = self.helm.cluster.kubectl("get", "pods", "-n", self.name, "-l", selector, "-o", "json")
        living = [pod for pod in json.loads(found)["items"] if "deletionTimestamp" not in pod["metadata"]]
        (image,) = {pod["spec"]["containers"][0]["image"] for pod in living}
        return str(image)


THIS = Version(REPOSITORY, OPERATOR)


@contextmanager
def absent_release(cluster: Cluster, watched: int) -> Iterator[Release]:
    """Not installed yet, with its namespaces; whatever a test leaves of it goes."""
    name = f"e2e-up-{secrets.token_hex(3)}"
    served = tuple(f"{name}-{number}" for number in range(watched))
    for namespace in (name, *served):
        cluster.kubectl("create", "namespace", namespace)
        cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    release = Release(Helm(cluster, name), served)
    try:
        yield release
    finally:
        THIS.apply_crd(cluster)
        release.uninstall()
        cluster.kubectl("delete", "namespace", name, *served, "--wait=false", "--ignore-not-found")
