"""`python -m dev.demo up|down`: the whole show on the local cluster, and its removal."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.cache import REPOSITORY, cache_dir
from dev.cluster import Cluster, current, tools
from dev.console import SetupError, Steps, main_or_exit, run, say

NAMESPACE = "populate-demo"
SYSTEM = "populate-system"
RELEASE = "populate-operator"
MANIFESTS = Path(__file__).parent / "manifests"
QUEUES = REPOSITORY / "examples" / "segmentation" / "queues.yaml"
CHART = REPOSITORY / "charts" / "populate-operator"
PICTURE = REPOSITORY / "demo-out" / "contact-sheet.png"
PATIENCE = 600.0  # seconds until the demo gives up on the pipeline


def main() -> None:
    """Up or down."""
    match sys.argv[1:]:
        case ["up"]:
            show(current())
        case ["down"]:
            remove(current())
        case _:
            raise SetupError("usage: python -m dev.demo up|down")


def show(cluster: Cluster) -> None:
    """From an empty cluster to a populated pipeline, results and failures printed."""
    steps = Steps("demo", 6)
    steps.step("database and notebook in the cluster")
    cluster.kubectl("apply", "-f", str(MANIFESTS / "namespace.yaml"))
    for name in ("database.yaml", "notebook.yaml"):
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(MANIFESTS / name))
    cluster.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/mysql", "--timeout=180s")
    cluster.kubectl("wait", "-n", NAMESPACE, "pod/notebook", "--for=condition=Ready", "--timeout=120s")
    steps.step("operator by its Helm chart")
    install(cluster)
    steps.step("tables declared, photographs loaded, as a scientist would from a notebook")
    say(notebook(cluster, "python", "-m", "segmentation.load").rstrip())
    steps.step(f"kubectl apply -f {QUEUES.relative_to(REPOSITORY)}, and kubectl get pq -w")
    populate(cluster)
    steps.step("results, as DataJoint shows them")
    report(cluster)
    steps.step(f"contact sheet in {PICTURE.relative_to(REPOSITORY)}")
    draw(cluster)
    say(
        f"demo: done in {steps.seconds():.0f} s; kubectl -n {NAMESPACE} looks around, "
        "make demo-down removes it"
    )


def install(cluster: Cluster) -> None:
    """Install or upgrade the operator, and wait until it is available."""
    values = ["image.repository=localhost/populate/operator", "image.tag=dev"]
    # The tag stays the same when the image changes: this makes Helm roll the new one out.
    values.append(f"podAnnotations.built={int(time.time())}t")
    options = [part for value in values for part in ("--set", value)]
    command = [
        *_helm(cluster),
        "upgrade",
        "--install",
        RELEASE,
        CHART,
        "-n",
        SYSTEM,
        "--create-namespace",
        *options,
    ]
    try:
        run([*command, "--wait", "--timeout", "90s"], log=cache_dir("log") / "demo.log")
    except SetupError as error:
        logs = cluster.kubectl("logs", "-n", SYSTEM, f"deployment/{RELEASE}", "--tail=20")
        raise SetupError(f"{error}\nthe operator's log ends:\n{logs}") from error


def populate(cluster: Cluster) -> None:
    """Apply the chained queues and show them until both are up to date."""
    with watching(cluster):
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(QUEUES))
        deadline = time.monotonic() + PATIENCE
        while not is_done(cluster):
            if time.monotonic() > deadline:
                raise SetupError(
                    f"the queues are not done after {PATIENCE:.0f} s: kubectl -n {NAMESPACE} describe pq"
                )
            time.sleep(1)


def is_done(cluster: Cluster) -> bool:
    """Whether every key is in its table or failed, Summary having seen the last Segmentation."""
    path = (
        "{range .items[*]}{.status.conditions[?(@.type=='Ready')].reason} {.status.target.total}{'\\n'}{end}"
    )
    states = [
        line.split()
        for line in cluster.kubectl("get", "pq", "-n", NAMESPACE, "-o", f"jsonpath={path}").splitlines()
    ]
    return (
        len(states) == 2
        and all(state[0] == "UpToDate" and int(state[1]) > 0 for state in states if len(state) == 2)
        and all(len(s) == 2 for s in states)
    )


@contextmanager
def watching(cluster: Cluster) -> Iterator[None]:
    """Show `kubectl get pq -w` while the block runs."""
    process = subprocess.Popen([*cluster.kubectl_command(), "get", "pq", "-n", NAMESPACE, "-o", "wide", "-w"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def report(cluster: Cluster) -> None:
    """The table of results, and the failed jobs as kubectl and a notebook show them."""
    print(notebook(cluster, "python", "-m", "segmentation.results"))
    print(cluster.kubectl("describe", "pq", "segmentation", "-n", NAMESPACE))
    code = "from segmentation.pipeline import Segmentation; print(Segmentation.jobs.errors)"
    print(notebook(cluster, "python", "-c", code), flush=True)


def draw(cluster: Cluster) -> None:
    """Bring the contact sheet out of the cluster."""
    notebook(cluster, "python", "-m", "segmentation.contact_sheet", "/tmp/sheet.png")  # noqa: S108 - in its pod
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_bytes(base64.b64decode(notebook(cluster, "base64", "/tmp/sheet.png")))  # noqa: S108


def notebook(cluster: Cluster, *command: str) -> str:
    """What a command prints in the notebook's pod."""
    return cluster.kubectl("exec", "-n", NAMESPACE, "notebook", "--", *command)


def remove(cluster: Cluster) -> None:
    """Remove what the demo made. The queues go first: the operator settles and releases their pods."""
    steps = Steps("demo-down", 3)
    steps.step("queues, while the operator can settle their pods")
    if "populatequeues" in cluster.kubectl(
        "api-resources", "--api-group=populate.datajoint.io", "-o", "name"
    ):
        cluster.kubectl("delete", "pq", "--all", "-n", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    steps.step("operator")
    run(
        [*_helm(cluster), "uninstall", RELEASE, "-n", SYSTEM, "--ignore-not-found"],
        log=cache_dir("log") / "demo.log",
    )
    cluster.kubectl("delete", "crd", "populatequeues.populate.datajoint.io", "--ignore-not-found")
    steps.step("namespaces")
    cluster.kubectl("delete", "namespace", NAMESPACE, SYSTEM, "--ignore-not-found", "--timeout=120s")


def _helm(cluster: Cluster) -> list[str | Path]:
    return [tools.binary("helm"), "--kubeconfig", cluster.kubeconfig, "--kube-context", cluster.context]


if __name__ == "__main__":
    main_or_exit(main)
