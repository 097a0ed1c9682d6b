"""etcd is away, so the API server can neither read nor write: pods end unseen, and all goes on by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from dev.cluster import Cluster, nodes, tools
from dev.cluster.control_plane import ControlPlane
from dev.cluster.daemons import read_pid
from dev.images.catalogue import OPERATOR
from tests.chaos.faults import kill
from tests.e2e.lab.outage import KEYS, Case, Lab, outage_lab
from tests.e2e.lab.queues import eventually


@pytest.fixture
def lab(small_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab in the cluster that may be damaged."""
    with outage_lab(small_cluster, "outage", tmp_path_factory.mktemp("outage")) as lab:
        yield lab


@contextmanager
def killed(plane: ControlPlane) -> Iterator[None]:
    """The API server answers with errors."""
    etcd = plane.etcd()
    kill(etcd)
    yield
    etcd.start()
    etcd.wait(plane.is_etcd_ready)


@contextmanager
def frozen(plane: ControlPlane) -> Iterator[None]:
    """The API server does not answer."""
    pid = read_pid(plane.etcd().pid_file)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def have_come(case: Case, pods: int) -> bool:
    return len(case.at_the_gate()) == pods


def test_nothing_is_lost_or_run_twice_while_etcd_is_away(lab: Lab) -> None:
    plane = ControlPlane.of(lab.cluster.state, tools.binaries(nodes.PROGRAMS))
    case = lab.case()
    case.begin(image=OPERATOR)  # which that cluster has: it brings Python and PyMySQL
    for outage, pods in ((killed, 2), (frozen, KEYS)):
        eventually("pods work", partial(have_come, case, pods), queue=case.queue)
        working = case.at_the_gate()
        with outage(plane):
            case.gate.let_through(*working)
            assert not lab.operator.died()  # its lease is lost, which it ends for by itself
            lab.operator.start()
            assert "reserved" in {status for status, _ in case.jobs().values()}
    eventually("each key has its end", case.is_done, queue=case.queue)
    assert len(case.pods()) == KEYS  # no job was run again
