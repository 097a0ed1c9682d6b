"""A way to the database that a test can shut: a Service of its own, and an account of its own."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.lab.queues import RESOURCE
from tests.e2e.lab.workplace import Workplace

Json = dict[str, Any]
QUIET_SECONDS = 3


@dataclass(frozen=True)
class Door:
    """`database` is the part of the spec that leads through it."""

    place: Workplace
    name: str
    password: str

    @property
    def database(self) -> Json:
        host = f"{self.name}.{self.place.database.namespace}.svc"
        return {"host": host, "credentials": {"secretName": self.name}}

    def add_secret(self, password: str = "") -> None:
        self.place.add_secret(self.name, password or self.password, self.name)

    def open(self) -> None:
        self._select("mysql")

    def shut(self) -> None:
        """Refuse new connections and drop those that there are."""
        self._select("nothing")
        quiet = 0
        while quiet < QUIET_SECONDS:  # kube-proxy lets some more in, and tells nobody when it has followed
            quiet = 0 if self.drop_connections() else quiet + 1
            time.sleep(1)

    def drop_connections(self, *, but_of: tuple[str, ...] = ()) -> int:
        return self.place.drop_connections(self.name, but_of=but_of)

    def change_password(self, password: str) -> None:
        """For new connections; those that there are stay."""
        self.place.sql(f"ALTER USER '{self.name}'@'%%' IDENTIFIED BY '{password}'")

    def _select(self, app: str) -> None:
        manifest = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.place.database.namespace},
            "spec": {"selector": {"app": app}, "ports": [{"port": 3306}]},
        }
        self.place.cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


@contextmanager
def door_of(place: Workplace) -> Iterator[Door]:
    """A door to the workplace's schema, shut at first, its Secret not made yet."""
    door = Door(place, f"door-{secrets.token_hex(4)}", secrets.token_hex(8))
    place.sql(f"CREATE USER '{door.name}'@'%%' IDENTIFIED BY '{door.password}'")
    place.sql(f"GRANT ALL ON `{place.schema}`.* TO '{door.name}'@'%%'")
    door.shut()
    try:
        yield door
    finally:
        place.cluster.kubectl("delete", RESOURCE, "--all", "-n", place.namespace, "--timeout=120s")
        place.database.execute(f"DROP USER '{door.name}'@'%%'")
        place.cluster.kubectl("delete", "service", door.name, "-n", place.database.namespace)
