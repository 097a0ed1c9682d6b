"""`python -m dev.images [--build-only] [operator] [segmentation] [mysql]`: build and load the images."""

from __future__ import annotations

import argparse

from dev.cluster import current
from dev.console import main_or_exit
from dev.images import store


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.images", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="IMAGE", help="operator, segmentation or mysql; all by default"
    )
    parser.add_argument("--build-only", action="store_true", help="do not load them into the cluster")
    options = parser.parse_args()
    archives = store.build(options.names)
    if not options.build_only:
        store.load(current(), archives)
    for name, archive in archives.items():
        print(f"{name}  {archive.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main_or_exit(main)
