"""Least privilege: what the operator of this session was allowed is what it did, no less and no more.

It runs after every other end-to-end test, so that the API server's audit log tells of them all. Its own
queues use every right, so that it judges the same when it runs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from dev.cluster import Cluster
from tests.e2e.lab.audit import Audit, granted
from tests.e2e.lab.classes import declare, template_of
from tests.e2e.lab.gate import FOR_EVER, make_gated_tables, runs
from tests.e2e.lab.operator import Operator
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.workplace import Workplace


@pytest.mark.last
def test_every_right_is_used_and_no_other_was_needed(
    cluster: Cluster,
    operator: Operator,
    make_workplace: Callable[[str], Workplace],
    watched: tuple[str, str],
) -> None:
    begun = [(start_failing(make_workplace(one)), start_endless(make_workplace(one))) for one in watched]
    for failing, endless in begun:
        lose_a_pod(*endless)
        eventually("jobs that failed", partial(have_failed, failing), queue=failing)
        failing.delete()
        endless[1].delete()
    audit = Audit(cluster, operator.namespace, operator.release)
    allowed = granted(cluster, operator.release)
    assert {right.namespace for right in allowed} == {operator.namespace, *watched}
    unused = allowed - audit.used()
    assert not unused, f"the chart allows what nothing needs: {sorted(unused)}"
    assert audit.forbidden() == [], "the operator asked for what the chart does not allow"


def have_failed(queue: Queue) -> bool:
    return bool(queue.status()["jobs"]["error"] == 5)


def start_failing(place: Workplace) -> Queue:
    """A class whose jobs fail one after the other: a mounted runner, logs, an event that counts."""
    declare(place, keys=6, module="fates")
    spec = place.spec("Spikes", template_of(place), runner={"class": "fates:Spikes"}, parallelism=2)
    return place.queue().apply(spec)


def start_endless(place: Workplace) -> tuple[Workplace, Queue]:
    """A pod that works until it is deleted."""
    make_gated_tables(place, keys=1)
    return place, place.queue().apply(place.spec("Spikes", place.template(FOR_EVER)))


def lose_a_pod(place: Workplace, queue: Queue) -> None:
    """Make the pod vanish with no trace of its end; its job begins again once the operator has made sure."""
    eventually("a pod works", lambda: runs(place) == [1], queue=queue)
    (pod,) = queue.pods()
    name = pod["metadata"]["name"]
    queue.kubectl("patch", "pod", name, "--type=merge", '--patch={"metadata": {"finalizers": null}}')
    queue.kubectl("delete", "pod", name, "--grace-period=0", "--force")
    eventually("another pod works", lambda: runs(place) == [1, 1], queue=queue)
