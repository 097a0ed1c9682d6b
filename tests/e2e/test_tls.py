"""TLS to a MySQL with a CA of its own, as a queue asks for it by `database.tls`.

- the right CA and the right name: jobs run; the wrong CA, no CA, a CA that is no certificate, and a name that
  the certificate lacks: refused, and the queue says why
- an expired certificate: refused
- a server that has no TLS any more: refused by a queue that requires it, used in plain text by Preferred
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from dev.cluster import Cluster
from tests.certificates import Authority
from tests.e2e.lab.database import PASSWORD, USER, running_database
from tests.e2e.lab.operator import Operator
from tests.e2e.lab.queues import Queue, eventually
from tests.e2e.lab.tables import INSERT_ROW, add_keys, make_tables
from tests.e2e.lab.workplace import Workplace, opened

Json = dict[str, Any]
FOLDER = "/var/lib/mysql"
SHORT = timedelta(seconds=20)  # it must be in use before it is over


@dataclass(frozen=True)
class Server:
    """MySQL with certificates of our own, under the name that they are for and under another."""

    place: Workplace
    authority: Authority

    @property
    def name(self) -> str:
        return self.place.database.host

    def present(self, certificate: str, key: str) -> None:
        """Show this certificate to new connections and drop those that there are."""
        for variable, content in (("ca", self.authority.pem), ("cert", certificate), ("key", key)):
            self._write(f"own-{variable}.pem", content)
            self.place.sql(f"SET GLOBAL ssl_{variable} = '{FOLDER}/own-{variable}.pem'")
        self.place.sql("ALTER INSTANCE RELOAD TLS")
        self.drop_connections()

    def give_up_tls(self) -> None:
        self.place.sql("SET GLOBAL ssl_cert = '/nowhere'")
        self.place.sql("ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR")
        self.drop_connections()

    def drop_connections(self) -> None:
        self.place.drop_connections(USER)

    def _write(self, file: str, content: str) -> None:
        target = ["exec", "-i", "-n", self.place.database.namespace, "deployment/mysql", "--"]
        self.place.cluster.kubectl(*target, "sh", "-c", f"cat > {FOLDER}/{file}", input=content)


@pytest.fixture
def server(cluster: Cluster, operator: Operator, watched: tuple[str, str]) -> Iterator[Server]:
    with running_database(cluster) as database, opened(cluster, database, watched[0]) as place:
        alias = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "alias", "namespace": database.namespace},
            "spec": {"selector": {"app": "mysql"}, "ports": [{"port": 3306}]},
        }
        cluster.kubectl("apply", "-f", "-", input=json.dumps(alias))
        server = Server(place, Authority())
        server.present(*server.authority.issue(server.name))
        make_tables(place, keys=1)
        yield server


def ask(server: Server, mode: str, *, ca: str | None = None, host: str = "") -> Queue:
    """A queue that wants this of the server."""
    place, secret = server.place, f"ca-{secrets.token_hex(4)}"
    tls: Json = {"mode": mode}
    if ca is not None:
        tls |= {"caSecretName": secret, "caKey": "lab.crt"}
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": place.namespace},
            "stringData": {"lab.crt": ca},
        }
        place.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    spec = place.spec("Spikes", place.template(INSERT_ROW), refresh={"intervalSeconds": 1})
    spec["database"] |= {"tls": tls, "host": host or server.name}
    return place.queue().apply(spec)


def refused(queue: Queue, text: str, *, is_about_ca: bool = False) -> None:
    """The queue says `text` of the database, and what to look at."""
    told: Json = {}

    def says_so() -> bool:
        told.update(queue.condition("DatabaseReachable"))
        return text in told.get("message", "")

    eventually(text, says_so, queue=queue)
    assert told["status"] == "False"
    assert queue.condition("Ready")["status"] == "False"
    assert "TLS" in told["message"]
    assert ("caSecretName" in told["message"]) == is_about_ca
    assert PASSWORD not in told["message"]


def refused_without_tls(server: Server, queue: Queue) -> None:
    """It may have connected while the others were dropped."""

    def is_refused() -> bool:
        server.drop_connections()
        return queue.condition("DatabaseReachable").get("status") == "False"

    eventually("no TLS", is_refused, queue=queue)
    refused(queue, "TLS")


def is_in_touch(queue: Queue) -> bool:
    return bool(queue.condition("DatabaseReachable").get("status") == "True")


def test_what_a_queue_demands_of_the_servers_certificate(server: Server) -> None:
    ca, alias = server.authority.pem, server.name.replace("mysql", "alias", 1)
    strange, none = ask(server, "VerifyCA", ca=Authority().pem), ask(server, "VerifyCA")
    garbled, other = ask(server, "VerifyCA", ca="no PEM"), ask(server, "VerifyIdentity", ca=ca, host=alias)
    refused(strange, "certificate verify failed", is_about_ca=True)
    refused(none, "certificate verify failed", is_about_ca=True)
    refused(garbled, "is not PEM text", is_about_ca=True)
    refused(other, "Hostname mismatch")
    assert server.place.sql("SELECT * FROM __spikes") == []
    good = ask(server, "VerifyIdentity", ca=ca)
    eventually("a row", lambda: server.place.sql("SELECT * FROM __spikes") == [(1,)], queue=good)

    server.present(*server.authority.issue(server.name, lasting=SHORT))
    time.sleep(SHORT.total_seconds())  # a server takes no certificate that is over already
    server.drop_connections()
    refused(good, "certificate has expired")
    required, preferred = ask(server, "Required"), ask(server, "Preferred")
    for queue in (required, preferred):
        eventually("in touch", partial(is_in_touch, queue), queue=queue)
    server.give_up_tls()
    refused_without_tls(server, required)
    add_keys(server.place, range(2, 3))
    eventually("plain text", lambda: len(server.place.sql("SELECT * FROM __spikes")) == 2, queue=preferred)
    server.present(*server.authority.issue(server.name))
    eventually("again", lambda: good.condition("Ready").get("reason") == "UpToDate", queue=good)
