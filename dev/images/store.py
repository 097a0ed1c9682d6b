"""Built images as archives in the cache, and what each cluster has of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dev.cache import cache_dir, lock
from dev.cluster import Cluster
from dev.console import SetupError, Steps
from dev.images import builders
from dev.images.catalogue import REGISTRY, Image, images


def build(names: Iterable[str] = ()) -> dict[str, Path]:
    """Archives by image name, of all images or of those in `names`; builds what its sources have outdated.

    `names` are short: operator, segmentation, mysql, and previous-operator, made only by name. Raises
    SetupError with the end of the build's log.
    """
    with lock("images"):
        builder = builders.choose()
        chosen = _chosen(images(builder), set(names))
        outdated = [image for image in chosen if not archive_of(image).exists()]
        steps = Steps("images", len(outdated))
        for image in outdated:
            steps.step(f"building {image.name} with {builder.program}")
            _build(builder, image)
    return {image.name: archive_of(image) for image in chosen}


def load(cluster: Cluster, archives: dict[str, Path]) -> None:
    """Put missing and outdated images into the cluster's nodes; raises SetupError when it cannot."""
    with lock("images"):
        loaded = _loaded(cluster)
        missing = {
            name: archive
            for name, archive in archives.items()
            if loaded.get(name) != archive.name or not cluster.has_image(name)
        }
        steps = Steps("images", len(missing))
        for name, archive in missing.items():
            steps.step(f"loading {name} into cluster {cluster.name}")
            cluster.load_image(archive, name)
            loaded[name] = archive.name
            _record(cluster).write_text(json.dumps(loaded, indent=2))


def archive_of(image: Image) -> Path:
    """Where the archive of these very contents is or will be."""
    return cache_dir("images") / f"{_short(image.name)}-{image.key}.tar"


def _build(builder: builders.Builder, image: Image) -> None:
    image.make([image.name, image.keyed_name])
    builder.save(image.name, archive_of(image))
    for old in cache_dir("images").glob(f"{_short(image.name)}-*.tar"):
        if old != archive_of(image):
            builder.remove(f"{image.name}-{old.stem.rpartition('-')[2]}")
            old.unlink()


def _chosen(known: list[Image], names: set[str]) -> list[Image]:
    if unknown := names - {_short(image.name) for image in known}:
        raise SetupError(
            f"there is no image {', '.join(sorted(unknown))}; there are "
            f"{', '.join(_short(image.name) for image in known)}"
        )
    return [image for image in known if _short(image.name) in names or not (names or image.is_for_tests)]


def _short(name: str) -> str:
    """`operator` of `localhost/populate/operator:dev`."""
    return name.removeprefix(f"{REGISTRY}/").partition(":")[0]


def _loaded(cluster: Cluster) -> dict[str, str]:
    """Archive by image name: the nodes know an image's name, which stays when its contents change."""
    try:
        return dict(json.loads(_record(cluster).read_text()))
    except FileNotFoundError:
        return {}


def _record(cluster: Cluster) -> Path:
    """Lives with the cluster's own state, so that it goes with the cluster."""
    return cluster.state.directory / "images.json"
