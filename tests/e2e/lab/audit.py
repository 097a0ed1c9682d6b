"""What a service account did, by the audit log of a native cluster's API server, and what it was allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dev.cluster import Cluster

Json = dict[str, Any]

_READS = ("get", "list", "watch")


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource of one namespace; `resource` holds the subresource: `pods/log`."""

    namespace: str
    group: str
    resource: str
    verb: str


@dataclass(frozen=True)
class Audit:
    """The requests of one account, whichever of its pods made them."""

    cluster: Cluster
    namespace: str
    account: str

    def used(self) -> set[Right]:
        """The rights that were used."""
        return {_right(entry) for entry in self._entries() if _decision(entry) == "allow"}

    def forbidden(self) -> list[str]:
        """The requests that RBAC refused; a refusal by admission is none of these."""
        return [
            f"{entry['verb']} {entry['requestURI']}"
            for entry in self._entries()
            if _decision(entry) == "forbid"
        ]

    def writes(self, pod: str) -> list[tuple[datetime, str]]:
        """When `pod` asked for which change, renewals of its lease left out."""
        return [
            (
                datetime.fromisoformat(entry["requestReceivedTimestamp"]),
                f"{entry['verb']} {entry['requestURI']}",
            )
            for entry in self._entries()
            if entry["verb"] not in _READS
            and entry["objectRef"]["resource"] != "leases"
            and entry["user"]["extra"]["authentication.kubernetes.io/pod-name"] == [pod]
        ]

    def _entries(self) -> Iterator[Json]:
        user = f"system:serviceaccount:{self.namespace}:{self.account}"
        for file in self.cluster.state.directory.glob("audit*.log"):  # the rotated ones too
            for line in file.read_text().splitlines(keepends=True):
                # The last line may be half written, the first one of a file never is.
                if user in line and line.endswith("\n"):
                    entry = json.loads(line)
                    if entry["user"]["username"] == user:
                        yield entry


def granted(cluster: Cluster, release: str) -> set[Right]:
    """The rights in the Roles of a release."""
    selector = f"app.kubernetes.io/instance={release}"
    roles = json.loads(cluster.kubectl("get", "roles", "-A", "-l", selector, "-o", "json"))["items"]
    return {
        Right(role["metadata"]["namespace"], group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _decision(entry: Json) -> str:
    return str(entry.get("annotations", {}).get("authorization.k8s.io/decision"))


def _right(entry: Json) -> Right:
    target = entry.get("objectRef", {})
    resource = "/".join(part for part in (target.get("resource"), target.get("subresource")) if part)
    return Right(target.get("namespace", ""), target.get("apiGroup", ""), resource, entry["verb"])
