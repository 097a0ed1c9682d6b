"""The images of the project: what each is made of, under which key, and how."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dev import previous
from dev.cache import REPOSITORY, cache_dir
from dev.console import SetupError, run, say
from dev.images import machine, rootfs
from dev.images.builders import OFFICIAL_PYTHON, Builder

REGISTRY = "localhost/populate"
PYTHON = f"{REGISTRY}/python:base"
OPERATOR = f"{REGISTRY}/operator:dev"
PREVIOUS = f"{REGISTRY}/previous-operator:dev"  # of the version before this one: for tests of upgrades alone
SEGMENTATION = f"{REGISTRY}/segmentation:dev"
MYSQL = f"{REGISTRY}/mysql:dev"
OFFICIAL_MYSQL = "docker.io/library/mysql:8.4"

NATIVE = Path(__file__).parent / "native"
EXAMPLE = REPOSITORY / "examples" / "segmentation"
GENERATED = ("__pycache__", ".egg-info", ".mypy_cache", ".ruff_cache", ".pytest_cache")


@dataclass(frozen=True)
class Image:
    """`key` changes when the image would; `make` builds it and gives it the names that it is passed."""

    name: str
    key: str
    make: Callable[[Sequence[str]], None]
    is_for_tests: bool = False  # made only when it is asked for

    @property
    def keyed_name(self) -> str:
        """The name that belongs to these contents for good."""
        return f"{self.name}-{self.key}"


def images(builder: Builder) -> list[Image]:
    """Every image that goes into a cluster."""
    base = OFFICIAL_PYTHON if builder.has_registry else _native_python(builder)
    return [
        _operator(builder, base, OPERATOR, REPOSITORY),
        _segmentation(builder, base),
        _mysql(builder),
        replace(_operator(builder, base, PREVIOUS, previous.checkout()), is_for_tests=True),
    ]


def _operator(builder: Builder, base: Image | str, name: str, source: Path) -> Image:
    files = ["Dockerfile", ".dockerignore", "requirements.lock", "pyproject.toml", "README.md", "LICENSE"]
    inputs = [*(source / name for name in files), source / "operator"]
    return _from_dockerfile(builder, name, source, inputs, base)


def _segmentation(builder: Builder, base: Image | str) -> Image:
    return _from_dockerfile(builder, SEGMENTATION, EXAMPLE, [EXAMPLE], base)


def _from_dockerfile(
    builder: Builder, name: str, context: Path, inputs: Sequence[Path], base: Image | str
) -> Image:
    base_name = base if isinstance(base, str) else base.name

    def make(names: Sequence[str]) -> None:
        if isinstance(base, Image) and not builder.has(base.keyed_name):
            say(f"images: building {base.name}")
            base.make([base.name, base.keyed_name])
        args = {"BASE": base_name, **_origin()}
        with tempfile.TemporaryDirectory() as folder:
            secrets = machine.write_secrets(Path(folder))
            builder.build(context / "Dockerfile", context, names=names, args=args, secrets=secrets)

    key = digest(inputs, builder.program, base_name if isinstance(base, str) else base.key)
    return Image(name, key, make)


def _native_python(builder: Builder) -> Image:
    dockerfile = NATIVE / "python.Dockerfile"

    def make(names: Sequence[str]) -> None:
        root = rootfs.build("bookworm", rootfs.PYTHON)
        _build_from_rootfs(builder, dockerfile, root, {"ca.pem": machine.ca_bundle()}, names)

    return Image(PYTHON, digest([dockerfile, machine.ca_bundle()], *rootfs.PYTHON), make)


def _mysql(builder: Builder) -> Image:
    if builder.has_registry:
        return Image(
            MYSQL, digest([], OFFICIAL_MYSQL), lambda names: builder.pull(OFFICIAL_MYSQL, names=names)
        )
    dockerfile, entrypoint = NATIVE / "mysql.Dockerfile", NATIVE / "mysql-entrypoint.sh"

    def make(names: Sequence[str]) -> None:
        root = rootfs.build("sid", rootfs.MYSQL)
        _build_from_rootfs(builder, dockerfile, root, {entrypoint.name: entrypoint}, names)

    return Image(MYSQL, digest([dockerfile, entrypoint], *rootfs.MYSQL), make)


def _build_from_rootfs(
    builder: Builder, dockerfile: Path, root: Path, files: dict[str, Path], names: Sequence[str]
) -> None:
    with tempfile.TemporaryDirectory(dir=cache_dir("images")) as folder:
        context = Path(folder)
        excludes = [f"--exclude={pattern}" for pattern in rootfs.NOT_IN_IMAGES]
        log = cache_dir("log") / "images.log"
        run(["tar", "-C", root, *excludes, "-cf", context / "rootfs.tar", "."], log=log)
        for name, file in files.items():
            shutil.copyfile(file, context / name)
        builder.build(dockerfile, context, names=names, args={}, secrets={})


def digest(inputs: Iterable[Path], *words: str) -> str:
    """Twelve hex digits over the names and contents of files, those in folders included, and over `words`.

    Raises SetupError when one of `inputs` does not exist.
    """
    result = hashlib.sha256("\0".join(words).encode())
    for path in inputs:
        if not path.exists():
            raise SetupError(f"{path} is missing, and an image is made from it")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = str(file.relative_to(path.parent))
            if file.is_file() and not any(part in name for part in GENERATED):
                content = file.read_bytes()
                result.update(f"{name}\0{len(content)}\0".encode() + content)
    return result.hexdigest()[:12]


def _origin() -> dict[str, str]:
    """The build arguments behind the labels: the package's version and the commit."""
    source = (REPOSITORY / "operator" / "populate_operator" / "__init__.py").read_text()
    version = source.partition('__version__ = "')[2].partition('"')[0]
    describe = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    revision = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
    return {"VERSION": version, "REVISION": revision or "unknown"}
