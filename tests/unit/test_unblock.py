"""`kubectl populate unblock`: whose finalizers are taken away, in which order, and when not.

- a Lease is in force while its holder renews it, whatever the time is here and there
- pods are released before queues are asked for, and without the CRD there are none
kubectl is a stand-in here that answers from a file; the real one is in tests/integration and tests/e2e.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from populate_operator.unblock import UnblockError, build_patch, renewed, unblock

OURS, QUEUES = "populate.datajoint.io/outcome", "populate.datajoint.io/queue"
NO_CRD = 'error: the server doesn\'t have a resource type "populatequeues"'
NO_CRD_BUT_CACHED = (
    'Error from server (NotFound): Unable to list "populate.datajoint.io/v1alpha1, Resource=populatequeues": '
    "the server could not find the requested resource (get populatequeues.populate.datajoint.io)"
)

# Answers `get KIND` with the next of the kind's answers, the last for ever, and notes what it was asked.
KUBECTL = """
import json, pathlib, sys
folder, verb, kind = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(".")[0]
with (folder / "asked").open("a") as asked:
    print(verb, kind if verb == "get" else sys.argv[6], file=asked)
if verb == "get":
    file = folder / kind
    first, *rest = json.loads(file.read_text())
    file.write_text(json.dumps(rest or [first]))
    if isinstance(first, str):
        sys.exit(first)
    print(json.dumps({"items": first}))
"""


class Kubectl:
    """What the stand-in answers, by kind, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "kubectl").write_text(KUBECTL)
        self.command = [sys.executable, str(folder / "kubectl"), str(folder)]
        self.answer("leases", [])
        self.answer("pods", [thing("Pod", OURS, "p")])
        self.answer("populatequeues", [thing("PopulateQueue", QUEUES, "q")])

    def answer(self, kind: str, *answers: Any) -> None:
        """Lists of objects, or errors, one after the other."""
        (self.folder / kind).write_text(json.dumps(answers))

    def asked(self) -> list[str]:
        """Verb and kind, or what was patched."""
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    monkeypatch.setattr("populate_operator.unblock.LOOK_SECONDS", 0.1)
    return Kubectl(tmp_path)


def thing(kind: str, finalizer: str, name: str) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "namespace": "lab", "finalizers": [finalizer]}}


def lease(holder: str | None, renewed: str = "2026-05-01T11:59:50.123456Z", seconds: float = 15) -> Any:
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}
    return {"metadata": {"namespace": "system"}, "spec": spec}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [], []),
        ([lease("one")], [lease("one")], []),
        ([lease("one")], [lease("one", "2026-05-01T11:59:52.123456Z")], ["system/one"]),
        ([lease("one")], [lease("two", "1999-01-01T00:00:00.000000Z")], ["system/two"]),
        ([], [lease("one")], ["system/one"]),
        ([lease("one")], [lease("", "2026-05-01T11:59:52.123456Z")], []),
        ([lease("one")], [], []),
        ([lease(None)], [lease(None)], []),
        ([{"metadata": {"namespace": "a"}, "spec": {}}], [{"metadata": {"namespace": "a"}, "spec": {}}], []),
    ],
    ids=["none", "left", "renewed", "taken", "new", "given back", "deleted", "no holder", "empty"],
)
def test_an_operator_lives_while_it_renews_its_lease(before: Any, after: Any, expected: list[str]) -> None:
    assert renewed(before, after) == expected


def test_while_a_lease_is_renewed_nothing_is_released(kubectl: Kubectl) -> None:
    kubectl.answer("leases", [lease("one")], [lease("one", "2001-01-01T00:00:00.000000Z")])
    with pytest.raises(UnblockError, match=r"an operator runs \(system/one\)"):
        list(unblock([], force=False, kubectl=kubectl.command))
    assert kubectl.asked() == ["get leases", "get leases"]


def test_a_lease_that_nobody_renews_is_waited_for(kubectl: Kubectl) -> None:
    kubectl.answer("leases", [lease("one", "2999-01-01T00:00:00.000000Z", seconds=0.3)])
    began = time.monotonic()
    assert len(list(unblock([], force=False, kubectl=kubectl.command))) == 2
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("leases", [[], [lease("")], [lease(None)]], ids=["none", "given back", "empty"])
def test_without_a_holder_there_is_no_wait(kubectl: Kubectl, leases: list[Any]) -> None:
    kubectl.answer("leases", leases)
    assert len(list(unblock([], force=False, kubectl=kubectl.command))) == 2
    assert kubectl.asked().count("get leases") == 1


def test_pods_are_released_before_queues_are_asked_for(kubectl: Kubectl) -> None:
    released = list(unblock([], force=True, kubectl=kubectl.command))
    assert released == ["Pod/p in lab", "PopulateQueue/q in lab"]
    assert kubectl.asked() == ["get pods", "patch p", "get populatequeues", "patch q"]


@pytest.mark.parametrize("error", [NO_CRD, NO_CRD_BUT_CACHED])
def test_without_the_crd_there_are_no_queues(kubectl: Kubectl, error: str) -> None:
    kubectl.answer("populatequeues", error)
    assert list(unblock([], force=True, kubectl=kubectl.command)) == ["Pod/p in lab"]


def test_what_was_released_before_kubectl_failed_is_told(kubectl: Kubectl) -> None:
    kubectl.answer("populatequeues", "Error from server (Forbidden): not you")
    released = unblock([], force=True, kubectl=kubectl.command)
    assert next(released) == "Pod/p in lab"
    with pytest.raises(UnblockError, match="not you"):
        next(released)


@pytest.mark.parametrize("finalizers", [None, [], ["lab.example/keep"]])
def test_what_has_no_finalizer_of_ours_is_left_alone(finalizers: list[str] | None) -> None:
    metadata = {"name": "x", "namespace": "lab", "finalizers": finalizers}
    assert build_patch({"kind": "Pod", "metadata": metadata}) is None


@pytest.mark.parametrize(("kind", "ours"), [("Pod", OURS), ("PopulateQueue", QUEUES)])
def test_only_our_finalizer_goes(kind: str, ours: str) -> None:
    metadata = {"name": "x", "namespace": "lab", "finalizers": ["lab.example/keep", ours]}
    arguments = build_patch({"kind": kind, "metadata": metadata})
    assert arguments is not None
    assert arguments[:5] == ["patch", "--namespace", "lab", kind.lower(), "x"]
    assert json.loads(arguments[-1].removeprefix("--patch=")) == [
        {"op": "test", "path": "/metadata/finalizers/1", "value": ours},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]
