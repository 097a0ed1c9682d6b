"""The images, as archives and as pods of a real node.

- building and loading again changes nothing
- operator: user 65532, under 300 MB, labels, no compiler, no cache, nothing of the machine that built it
- operator: every library loads and the program runs on a read-only root file system without privileges
- segmentation: its libraries load under the same limits
- MySQL: the official image's variables make the accounts; TLS is offered; a restart keeps the data
"""

from __future__ import annotations

import json
import secrets
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import Cluster, current
from dev.console import SetupError
from dev.images import store
from dev.images.catalogue import MYSQL, OPERATOR, SEGMENTATION
from populate_operator import __version__

LIMIT_BYTES = 300_000_000
COMPILERS = {"as", "c++", "cc", "g++", "gcc", "ld", "make"}
LEFT_BY_A_BUILD = ("root/.cache/", "etc/pip.conf", "run/secrets/", "src/", "staging/", "dist/")
LIBRARIES = (
    "aiohttp, cryptography, kopf, kubernetes.aio.client, prometheus_client, pydantic, pymysql, sqlglot"
)
RESTRICTED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}

Run = Callable[..., str]


@pytest.fixture(scope="module")
def archives() -> dict[str, Path]:
    return store.build()


@pytest.fixture(scope="module")
def cluster(archives: dict[str, Path]) -> Cluster:
    cluster = current()
    store.load(cluster, archives)
    return cluster


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"images-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def run(cluster: Cluster, namespace: str) -> Run:
    """Runs a container to its end and gives what it printed."""

    def run(image: str, *, command: list[str] | None = None, args: list[str] | None = None) -> str:
        container = {"image": image, "args": args or [], "securityContext": RESTRICTED}
        pod = build_pod(namespace, container | ({"command": command} if command else {}))
        name = pod["metadata"]["name"]
        cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))
        succeeded = "--for=jsonpath={.status.phase}=Succeeded"
        cluster.kubectl("wait", succeeded, f"pod/{name}", "-n", namespace, "--timeout=120s")
        return cluster.kubectl("logs", name, "-n", namespace).strip()

    return run


def build_pod(namespace: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "imagePullPolicy": "Never"} | container
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{secrets.token_hex(4)}", "namespace": namespace},
        "spec": {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
        | spec,
    }


def config_and_files(archive: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """An image's configuration, and the sizes in bytes of the files of all its layers."""
    files: dict[str, int] = {}
    with tarfile.open(archive) as tar:
        manifest = json.load(content_of(tar, "manifest.json"))[0]
        config = json.load(content_of(tar, manifest["Config"]))["config"]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=content_of(tar, layer)) as entries:
                files |= {entry.name.removeprefix("./"): entry.size for entry in entries if not entry.isdir()}
    return config, files


def content_of(tar: tarfile.TarFile, name: str) -> Any:
    content = tar.extractfile(name)
    assert content is not None
    return content


def test_building_and_loading_again_changes_nothing(archives: dict[str, Path], cluster: Cluster) -> None:
    before = {name: archive.stat().st_mtime_ns for name, archive in archives.items()}
    assert store.build() == archives
    store.load(cluster, archives)
    assert {name: archive.stat().st_mtime_ns for name, archive in archives.items()} == before
    assert all(cluster.has_image(name) for name in archives)


def test_a_name_that_is_no_image_is_refused() -> None:
    with pytest.raises(SetupError, match=r"no image operater; there are operator, segmentation, mysql"):
        store.build(["operater"])


def test_operator_image_is_small_labelled_and_clean(archives: dict[str, Path]) -> None:
    config, files = config_and_files(archives[OPERATOR])

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["populate-operator"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "populate-operator"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"] not in ("", "unknown")
    assert not [variable for variable in config["Env"] if variable.startswith("PIP_")]

    assert sum(files.values()) < LIMIT_BYTES
    assert "opt/venv/bin/populate-operator" in files
    assert not [name for name in files if Path(name).parent.name == "bin" and Path(name).name in COMPILERS]
    assert not [name for name in files if name.startswith(LEFT_BY_A_BUILD)]
    assert not [name for name in files if "site-packages/pip/" in name and name.startswith("opt/")]


def test_operator_runs_without_privileges_on_a_read_only_root(run: Run) -> None:
    assert run(OPERATOR, args=["--version"]) == f"populate-operator {__version__}"


def test_operator_libraries_load_on_a_read_only_root(run: Run) -> None:
    program = f"import os, {LIBRARIES}; print(os.getuid())"
    assert run(OPERATOR, command=["python", "-c", program]).splitlines()[-1] == "65532"


def test_segmentation_libraries_load_on_a_read_only_root(run: Run) -> None:
    program = "import os, datajoint, numpy, skimage.segmentation; print(os.getuid())"
    assert run(SEGMENTATION, command=["python", "-c", program]).splitlines()[-1] == "65532"


def test_mysql_takes_the_official_variables_and_keeps_its_data(cluster: Cluster, namespace: str) -> None:
    environment = {
        "MYSQL_ROOT_PASSWORD": "root's \\ password",
        "MYSQL_DATABASE": "lab",
        "MYSQL_USER": "alice",
        "MYSQL_PASSWORD": "alice's",
    }
    container = {
        "image": MYSQL,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/mysql"}],
        "readinessProbe": {"tcpSocket": {"port": 3306}, "periodSeconds": 1},
    }
    pod = build_pod(
        namespace,
        container,
        restartPolicy="Always",
        securityContext={"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    name = pod["metadata"]["name"]

    def query(user: str, password: str, sql: str) -> str:
        account = [f"--user={user}", f"--password={password}", "--host=127.0.0.1"]
        options = ["--ssl-mode=REQUIRED", "--skip-column-names", "--batch"]
        mysql = ["exec", name, "-n", namespace, "--", "mysql", *account, *options, f"--execute={sql}"]
        return cluster.kubectl(*mysql).strip()

    def wait_until_ready(restarts: int) -> None:
        for condition in (
            f"jsonpath={{.status.containerStatuses[0].restartCount}}={restarts}",
            "condition=Ready",
        ):
            cluster.kubectl("wait", f"--for={condition}", f"pod/{name}", "-n", namespace, "--timeout=180s")

    cluster.kubectl("apply", "-f", "-", input=json.dumps(pod))
    wait_until_ready(restarts=0)
    assert query("root", environment["MYSQL_ROOT_PASSWORD"], "SELECT CURRENT_USER()") == "root@%"
    assert query("alice", "alice's", "SELECT CURRENT_USER()") == "alice@%"
    query("alice", "alice's", "CREATE TABLE lab.t (i INT PRIMARY KEY); INSERT INTO lab.t VALUES (7)")

    query("root", environment["MYSQL_ROOT_PASSWORD"], "SHUTDOWN")
    wait_until_ready(restarts=1)
    assert query("alice", "alice's", "SELECT i FROM lab.t") == "7"
