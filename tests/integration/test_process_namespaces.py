"""An operator for listed namespaces, with no rights but the chart's, loses some of them.

Cases: one is deleted while it leads, and made anew; one while another replica leads; all of them; one is
listed no more, and its queue has a job at work.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.databases import Database
from populate_operator.pods.names import LEASE
from populate_operator.queue.homes import HOMES_ANNOTATION, read_note
from populate_operator.queue.store import owner_of
from tests.e2e.lab.queues import eventually
from tests.integration.chart.rendered import Json, Manifests
from tests.integration.jobs.pipelines import Pipeline, build_imaging
from tests.integration.manifests import Api, manifest
from tests.integration.processes import (
    GRACE_SECONDS,
    PLAIN,
    Process,
    answers,
    ask,
    operator,
    said,
    wait_for_reason,
)

# Kopf asks for a lost namespace in vain for more than a minute: that begins with the first test of this
# module, and those of other modules fill the time until the one that is marked `last`.
pytestmark = pytest.mark.usefixtures("bereft")

ACCOUNT = "populate-operator"
QUEUES = "populatequeues.populate.datajoint.io"


@dataclass(frozen=True)
class Site:
    """An operator's namespace and two that are listed; `seen` is the cluster by the operator's account."""

    cluster: Cluster
    seen: Cluster
    own: str
    listed: tuple[str, str]

    def operator(
        self, identity: str = "one", listed: tuple[str, ...] = ()
    ) -> AbstractContextManager[Process]:
        """A process that serves the listed namespaces, both of them unless told otherwise."""
        program = (*PLAIN, "--namespaces", ",".join(listed or self.listed))
        return operator(self.seen.kubeconfig, self.own, identity, program)

    def grant(self, namespace: str) -> None:
        """Make the chart's Role and binding there, and wait until they are in force."""
        apply(self.cluster, rights(self.own, self.listed, within=namespace))
        eventually("rights are in force", lambda: self.may("list", QUEUES, namespace))

    def revoke(self, namespace: str) -> None:
        """Take the binding away, and wait until that is in force."""
        self.cluster.kubectl("delete", "rolebinding", ACCOUNT, "-n", namespace)
        eventually("rights are gone", lambda: not self.may("list", QUEUES, namespace))

    def may(self, verb: str, resource: str, namespace: str) -> bool:
        """Whether the API server lets the operator's account."""
        plural, _, group = resource.partition(".")
        asked = {"verb": verb, "resource": plural, "group": group, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        # Validation would list CRDs, which this account may not.
        create = ("create", "--validate=false", "-o", "json", "-f", "-")
        answer = self.seen.kubectl(*create, input=json.dumps(review))
        return bool(json.loads(answer)["status"]["allowed"])

    def create_queue(self, namespace: str) -> None:
        """A queue without a database: it is served all the same."""
        Api(self.cluster, namespace).create(manifest())

    def wait_observed(self, namespace: str, generation: int) -> None:
        """Wait until a pass has reported the queue's spec of that generation."""
        observed = f"--for=jsonpath={{.status.observedGeneration}}={generation}"
        self.cluster.kubectl("wait", "pq", "sorting", "-n", namespace, observed, "--timeout=300s")

    def wait_changes_observed(self, namespace: str) -> None:
        """Change the queue, and wait until a pass has seen that."""
        Api(self.cluster, namespace).kubectl(
            "patch", "pq", "sorting", "--type=merge", '--patch={"spec": {"suspend": true}}'
        )
        self.wait_observed(namespace, 2)


def apply(cluster: Cluster, objects: list[Json]) -> None:
    cluster.kubectl(
        "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )


def rights(own: str, listed: tuple[str, ...], within: str) -> list[Json]:
    """What the chart makes for the operator's account in one namespace."""
    chart = Manifests.of({"watchNamespaces": list(listed)}, "--namespace", own)
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    return [one for kind in kinds for one in chart.all(kind) if one["metadata"]["namespace"] == within]


def as_account(cluster: Cluster, own: str, kubeconfig: Path) -> Cluster:
    """The cluster by a token of the operator's account, in the file `kubeconfig` that this writes."""
    words = ("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
    config = json.loads(cluster.kubectl(*words))
    token = cluster.kubectl("create", "token", ACCOUNT, "-n", own, "--duration=1h").strip()
    config["users"][0]["user"] = {"token": token}
    kubeconfig.write_text(json.dumps(config))
    return replace(cluster, kubeconfig=kubeconfig)


@contextmanager
def opened(cluster: Cluster, folder: Path) -> Iterator[Site]:
    own = f"populate-test-{secrets.token_hex(4)}"
    listed = (f"{own}-a", f"{own}-b")
    for namespace in (own, *listed):
        cluster.kubectl("create", "namespace", namespace)
    apply(cluster, rights(own, listed, within=own))
    site = Site(cluster, as_account(cluster, own, folder / "kubeconfig.json"), own, listed)
    for namespace in listed:
        site.grant(namespace)
    eventually("it may lead", lambda: site.may("create", "leases.coordination.k8s.io", own))
    yield site
    for namespace in listed:
        Api(cluster, namespace).abandon_queues()  # the operator is gone, and so is its part in the deletion
    cluster.kubectl("delete", "namespace", own, *listed, "--wait=false", "--ignore-not-found")


@pytest.fixture
def site(knowing: Cluster, tmp_path: Path) -> Iterator[Site]:
    with opened(knowing, tmp_path) as site:
        yield site


@dataclass(frozen=True)
class Bereft:
    """An operator whose second namespace was deleted; all is tidied when `ending` closes."""

    site: Site
    process: Process
    ending: ExitStack


@pytest.fixture(scope="session")
def bereft(knowing: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bereft]:
    with ExitStack() as ending:
        site = ending.enter_context(opened(knowing, tmp_path_factory.mktemp("bereft")))
        stays, goes = site.listed
        site.create_queue(stays)
        process = ending.enter_context(site.operator())
        wait_until_served(process, stays)
        knowing.kubectl("delete", "namespace", goes, "--timeout=300s")
        yield Bereft(site, process, ending)


def wait_until_served(process: Process, namespace: str) -> None:
    while said(process, "queue served")["namespace"] != namespace:
        pass


def ended(process: Process) -> int:
    """Read what it says to its end, for a full pipe would hold it up; its exit status."""
    assert process.stderr is not None
    for _ in process.stderr:
        pass
    return process.wait(GRACE_SECONDS)


@pytest.mark.last
def test_a_deleted_namespace_costs_the_others_a_restart_and_is_served_again(bereft: Bereft) -> None:
    with bereft.ending:
        assert ended(bereft.process) == 1  # Kopf's watch there
        see_served_again(bereft.site)


def see_served_again(site: Site) -> None:
    stays, goes = site.listed
    with site.operator() as process:
        port = said(process, "operator started")["port"]
        assert said(process, "namespaces left out")["namespaces"] == [goes]
        wait_until_served(process, stays)
        site.wait_changes_observed(stays)
        assert asyncio.run(answers(port, "/readyz", 200)) == "ok"
        site.cluster.kubectl("create", "namespace", goes)
        site.create_queue(goes)
        site.grant(goes)
        assert said(process, "namespaces are back: starting afresh")["namespaces"] == [goes]
        assert ended(process) == 0
    with site.operator() as process:
        wait_until_served(process, goes)
        site.wait_observed(goes, 1)


def test_a_replica_that_stood_by_leads_without_a_namespace_that_has_gone(site: Site) -> None:
    stays, goes = site.listed
    site.create_queue(stays)
    with site.operator("one") as leader:
        wait_until_served(leader, stays)
        with site.operator("two") as follower:
            port = said(follower, "operator started")["port"]
            asyncio.run(answers(port, "/readyz", 200))  # it stands by
            site.revoke(goes)
            leader.send_signal(signal.SIGTERM)
            assert ended(leader) == 0
            assert said(follower, "namespaces left out")["namespaces"] == [goes]
            wait_until_served(follower, stays)
            site.wait_changes_observed(stays)


def test_when_no_namespace_is_left_it_waits_for_one(site: Site) -> None:
    first, second = site.listed
    site.revoke(first)
    site.revoke(second)
    with site.operator() as process:
        port = said(process, "operator started")["port"]
        wait_for_reason(process, f"{first}, {second}: ")
        assert ask(port, "/readyz")[0] == 503
        assert ask(port, "/livez") == (200, "ok")
        site.create_queue(second)
        site.grant(second)
        assert said(process, "namespaces left out")["namespaces"] == [first]
        wait_until_served(process, second)


@pytest.fixture
def shared_table(database: Database) -> Iterator[Pipeline]:
    """The imaging pipeline, to be populated by queues of two namespaces."""
    pipeline = Pipeline(database)
    build_imaging(pipeline, subjects=1)
    yield pipeline
    pipeline.close()


def create_queue_of(table: Pipeline, cluster: Cluster, namespace: str) -> str:
    """A queue of that table which starts nothing, and its Secret; its uid."""
    server, api = table.server, Api(cluster, namespace)
    account = (f"--from-literal=username={server.user}", f"--from-literal=password={server.password}")
    api.kubectl("create", "secret", "generic", "dj", *account)
    where = {"host": server.host, "port": server.port}
    body = manifest(
        database=where, schema=table.name, table="Segmentation", suspend=True, refresh={"intervalSeconds": 1}
    )
    return str(api.create(body)["metadata"]["uid"])


@pytest.mark.parametrize("kind", ["mysql"], indirect=True, scope="session")  # the server plays no part
def test_jobs_of_a_namespace_that_is_listed_no_more_are_left_to_their_queue(
    site: Site, shared_table: Pipeline
) -> None:
    stays, goes = site.listed
    create_queue_of(shared_table, site.cluster, stays)
    uid = create_queue_of(shared_table, site.cluster, goes)
    with site.operator() as process:
        wait_until_served(process, goes)
        eventually("it is noted where queues are", lambda: homes(site) == {stays, goes})
        jobs = shared_table.jobs("Segmentation")
        eventually("there is a job", lambda: jobs.pending.count() == 1)
        process.send_signal(signal.SIGTERM)
        assert ended(process) == 0
    installation = site.cluster.kubectl("get", "namespace", site.own, "-o", "jsonpath={.metadata.uid}")
    jobs.reserve_many(1, owner=owner_of(installation, uid), hosts=["at-work"])
    site.revoke(goes)  # as the chart does for a shorter list

    with site.operator("two", listed=(stays,)) as process:
        said(process, "abandoned jobs not looked for")
        assert jobs.reserved.count() == 1
        site.cluster.kubectl("annotate", "lease", LEASE, "-n", site.own, f"{HOMES_ANNOTATION}-")
        assert said(process, "abandoned jobs released")["jobs"] == 1
    assert jobs.pending.count() == 1


def homes(site: Site) -> frozenset[str]:
    """The namespaces that the Lease notes."""
    lease = json.loads(site.cluster.kubectl("get", "lease", LEASE, "-n", site.own, "-o", "json"))
    return read_note(lease["metadata"]["annotations"])
