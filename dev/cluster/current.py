"""The running cluster, for tests, images and the demo: where it is, kubectl, and images into its nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import external, kind, node_images, tools
from dev.cluster.layout import DEFAULT_NAME
from dev.cluster.state import State, load
from dev.console import SetupError


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes that `python -m dev.cluster up` made or was given.

    `provider` is "external", "kind" or "native".
    """

    name: str
    provider: str
    kubeconfig: Path
    context: str
    state: State

    @classmethod
    def of(cls, state: State) -> Cluster:
        """The cluster that `state` remembers."""
        return cls(state.name, state.provider, Path(state.kubeconfig), state.context, state)

    def kubectl(self, *args: str, input: str | None = None) -> str:
        """What `kubectl ARGS` prints.

        Raises SetupError with kubectl's own message when it fails.
        """
        done = subprocess.run(
            [*self.kubectl_command(), *args], input=input, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SetupError(f"kubectl {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl_command(self) -> list[str]:
        """The command that reaches this cluster, for programs that run kubectl themselves."""
        program = shutil.which("kubectl") if self.provider != "native" else None
        program = program or str(tools.binary("kubectl"))
        return [program, f"--kubeconfig={self.kubeconfig}", f"--context={self.context}"]

    def load_image(self, archive: Path, name: str) -> None:
        """Put the image `name` of a docker or OCI archive onto every real node.

        Raises SetupError where the cluster is not ours to put images into.
        """
        match self.provider:
            case "native":
                layout = self.state.layout()
                for number in self.state.nodes:
                    node_images.load(layout.node(number), archive, name)
            case "kind":
                kind.load_image(self.name, archive)
            case _ if not self.has_image(name):
                raise SetupError(
                    f"image {name} is not in the cluster of POPULATE_KUBECONFIG and cannot be put there from "
                    "here; push it to a registry that cluster reads, or load it with its own tool"
                )

    def has_image(self, name: str) -> bool:
        """Whether every real node has the image `name`."""
        if self.provider == "native":
            layout = self.state.layout()
            return all(name in node_images.names(layout.node(number)) for number in self.state.nodes)
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        real = [node for node in nodes if node["metadata"].get("labels", {}).get("type") != "kwok"]
        return all(name in _image_names(node) for node in real)


def current(name: str | None = None) -> Cluster:
    """The cluster of POPULATE_KUBECONFIG, else `name`, by default that of POPULATE_CLUSTER or "default".

    A `name` given is always one of our own. Raises SetupError when it is not up.
    """
    state = external.named() if name is None else None
    state = state or load(name or default_name())
    if state is None or not state.started:
        raise SetupError(f"no cluster '{name or default_name()}' is up; start it with 'make cluster-up'")
    return Cluster.of(state)


def default_name() -> str:
    """The cluster meant when none is named."""
    return os.environ.get("POPULATE_CLUSTER") or DEFAULT_NAME


def _image_names(node: dict[str, dict[str, list[dict[str, list[str]]]]]) -> set[str]:
    """The names a kubelet reports; it reports fifty images unless told otherwise."""
    return {name for image in node["status"].get("images", []) for name in image.get("names", [])}
