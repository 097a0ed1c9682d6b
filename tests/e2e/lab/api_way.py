"""The cluster as an operator sees it whose way to the API server a test may break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from dev.cluster import Cluster
from tests.e2e.lab.gateway import Gateway, gateway


@contextmanager
def api_way(cluster: Cluster, kubeconfig: Path) -> Iterator[tuple[Cluster, Gateway]]:
    """The cluster through a gateway of its own, by the file `kubeconfig`, which this writes."""
    words = ("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
    config = json.loads(cluster.kubectl(*words))
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    address = str(server.hostname)
    with gateway(address, (address, server.port or 443)) as way:
        config["clusters"][0]["cluster"]["server"] = f"https://{address}:{way.port}"
        kubeconfig.write_text(json.dumps(config))
        yield replace(cluster, kubeconfig=kubeconfig), way
