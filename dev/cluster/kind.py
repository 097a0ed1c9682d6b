"""The provider for machines with a container engine: kind makes the cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dev.cache import cache_dir
from dev.console import SetupError, run

ENGINES = ("docker", "podman")
ANSWER_SECONDS = 10


def engine() -> str | None:
    """The first container engine that answers, None when none does."""
    return next((name for name in ENGINES if shutil.which(name) and _answers(name)), None)


def create(name: str, engine: str, kubeconfig: Path) -> None:
    """Create the cluster unless it exists; its kubeconfig goes to `kubeconfig`.

    Raises SetupError when kind is missing or cannot get its node image.
    """
    if not shutil.which("kind"):
        raise SetupError("kind is not installed")
    log = cache_dir("log") / "kind.log"
    env = _env(engine)
    if name in _clusters(env):
        run(["kind", "export", "kubeconfig", "--name", name, "--kubeconfig", kubeconfig], log=log, env=env)
        return
    command: list[str | Path] = [
        "kind",
        "create",
        "cluster",
        "--name",
        name,
        "--kubeconfig",
        kubeconfig,
        "--wait",
        "180s",
    ]
    try:
        run(command, log=log, env=env)
    except SetupError:
        delete(name, engine)
        raise


def delete(name: str, engine: str) -> None:
    """Delete the cluster; nothing happens when there is none."""
    command = ["kind", "delete", "cluster", "--name", name]
    run(command, log=cache_dir("log") / "kind.log", env=_env(engine))


def cluster_name(name: str) -> str:
    """What kind calls our cluster `name`; its context is `kind-` and that."""
    return f"populate-{name}"


def load_image(name: str, archive: Path) -> None:
    """Put the images of a docker archive onto the nodes of our cluster `name`."""
    command: list[str | Path] = ["kind", "load", "image-archive", archive, "--name", cluster_name(name)]
    run(command, log=cache_dir("log") / "kind.log", env=_env(engine() or ENGINES[0]))


def _env(engine: str) -> dict[str, str]:
    return os.environ | {"KIND_EXPERIMENTAL_PROVIDER": engine}


def _clusters(env: dict[str, str]) -> list[str]:
    command = ["kind", "get", "clusters"]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False).stdout.split()


def _answers(engine: str) -> bool:
    try:
        done = subprocess.run([engine, "info"], capture_output=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
