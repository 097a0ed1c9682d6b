"""Whether this machine can run a native cluster; every refusal is one sentence with its remedy."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from dev.cluster import cgroups
from dev.console import SetupError
from dev.packages import require

PACKAGES = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "socat",
    "ethtool",
    "iproute2",
    "util-linux",
)
STATE_DISK_GB = 8
MEMORY_GB = 3


def check(state_folder: Path) -> None:
    """Install what is missing.

    Raises SetupError when the machine lacks what cannot be installed.
    """
    if platform.system() != "Linux":
        raise SetupError(
            "a cluster without a container engine needs Linux; start Docker or Podman here instead"
        )
    if os.geteuid() != 0:
        raise SetupError(
            "a cluster without a container engine needs root; start Docker or Podman, or run this as root"
        )
    if not cgroups.hierarchies():
        raise SetupError("no cgroup hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise SetupError("the kernel has no overlay file system; load it: modprobe overlay")
    if Path("/proc/sys/user/max_net_namespaces").read_text().strip() == "0":
        raise SetupError(
            "network namespaces are switched off; allow them: sysctl user.max_net_namespaces=1000"
        )
    _check_room(state_folder)
    require(PACKAGES, purpose="a native cluster")


def _check_room(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < STATE_DISK_GB:
        raise SetupError(
            f"a cluster needs {STATE_DISK_GB} GB at {folder} and {free:.1f} are free; make room there"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    if memory < MEMORY_GB:
        raise SetupError(f"a cluster needs {MEMORY_GB} GB of memory and this machine has {memory:.1f}")
