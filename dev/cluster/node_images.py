"""Images in a native node: containerd's own store, filled from archives; and the pause image."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dev.cluster.layout import NodeLayout
from dev.console import SetupError

PAUSE = "localhost/populate/pause:1"


def load(node: NodeLayout, archive: Path, name: str) -> None:
    """Import `archive` into the node.

    Raises SetupError when the archive does not hold `name`.
    """
    _ctr(node, "images", "import", str(archive))
    if name not in names(node):
        raise SetupError(f"{archive} was imported into {node.name} but holds no image named {name}")


def names(node: NodeLayout) -> set[str]:
    """The names of the node's images."""
    return set(_ctr(node, "images", "ls", "-q").split())


def copy(source: NodeLayout, target: NodeLayout, wanted: Iterable[str]) -> None:
    """Give `target` those of the images `wanted` that it lacks and `source` has."""
    missing = (names(source) & set(wanted)) - names(target)
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=target.directory) as folder:
        archive = str(Path(folder) / "images.tar")
        _ctr(source, "images", "export", archive, *sorted(missing))
        _ctr(target, "images", "import", archive)


def tags(node: NodeLayout) -> set[str]:
    """The names that people gave, without those that containerd adds by digest."""
    return {name for name in names(node) if "@" not in name and not name.startswith("sha256:")}


def write_single_binary_archive(binary: Path, name: str, archive: Path) -> None:
    """Write a docker archive of an image that holds one static program and runs it."""
    layer = _tar({binary.name: (binary.read_bytes(), 0o755)})
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{binary.name}"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {
        "config.json": (json.dumps(config).encode(), 0o644),
        "layer.tar": (layer, 0o644),
        "manifest.json": (json.dumps(manifest).encode(), 0o644),
    }
    archive.write_bytes(_tar(files))


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _ctr(node: NodeLayout, *args: str) -> str:
    command = ["ctr", "--address", str(node.containerd_socket), "--namespace", "k8s.io", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"ctr {' '.join(args)} on {node.name}: {done.stderr.strip()}")
    return done.stdout
