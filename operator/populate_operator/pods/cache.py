"""The pods last seen, by queue: what the watch knows. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from populate_operator.pods.view import PodView

_Id = tuple[str, str]  # namespace, name

_REMEMBERED_ENDS = 20_000


class PodCache:
    """PodViews by namespace and name. Each change answers with the uids of the queues it concerns."""

    def __init__(self) -> None:
        self._pods: dict[_Id, PodView] = {}
        self._by_queue: dict[str, dict[_Id, PodView]] = {}
        self._ended: dict[_Id, str] = {}  # uid of each pod seen and gone, oldest first

    def get(self, namespace: str, name: str) -> PodView | None:
        """The pod of that name, if there is one."""
        return self._pods.get((namespace, name))

    def pods_of(self, queue_uid: str) -> tuple[PodView, ...]:
        """Every pod of a queue."""
        return tuple(self._by_queue.get(queue_uid, {}).values())

    def queue_uids(self) -> frozenset[str]:
        """The queues that have pods."""
        return frozenset(self._by_queue)

    def has_ended(self, namespace: str, name: str) -> bool:
        """Whether a pod of that name was seen and is gone (the last 20,000 are remembered)."""
        return (namespace, name) in self._ended and (namespace, name) not in self._pods

    def __len__(self) -> int:
        return len(self._pods)

    def put(self, pod: PodView) -> frozenset[str]:
        """Take in a pod as the watch reports it."""
        id_ = (pod.namespace, pod.name)
        old = self._pods.get(id_)
        if old is not None and old.uid == pod.uid and _version(old) > _version(pod):
            return frozenset()  # our own later write is known already
        if old is not None and replace(old, resource_version=pod.resource_version) == pod:
            self._store(id_, pod)
            return frozenset()
        touched = {pod.queue_uid}
        if old is not None and old.queue_uid != pod.queue_uid:
            self._forget(id_)
            touched.add(old.queue_uid)
        self._store(id_, pod)
        return frozenset(touched)

    def put_own(self, pod: PodView) -> None:
        """Take in the answer to our own write, unless the watch has reported the pod's end already."""
        if self._ended.get((pod.namespace, pod.name)) != pod.uid:
            self.put(pod)

    def drop(self, pod: PodView) -> frozenset[str]:
        """Take in that a pod is gone; another pod that has taken its name stays."""
        id_ = (pod.namespace, pod.name)
        old = self._pods.get(id_)
        if old is None or old.uid != pod.uid:
            return frozenset()
        self._forget(id_)
        self._ended[id_] = old.uid
        while len(self._ended) > _REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]
        return frozenset({old.queue_uid})

    def replace(self, namespace: str, pods: Iterable[PodView], version: str) -> frozenset[str]:
        """Take in a complete list of `namespace` ("" for all) as of `version`; what it lacks is gone."""
        touched: set[str] = set()
        listed: set[_Id] = set()
        for pod in pods:
            listed.add((pod.namespace, pod.name))
            touched |= self.put(pod)
        limit = _number(version)
        for id_, pod in list(self._pods.items()):
            # A pod that we created after the list was taken is not missing from it.
            if namespace in ("", id_[0]) and id_ not in listed and _version(pod) <= limit:
                touched |= self.drop(pod)
        return frozenset(touched)

    def _store(self, id_: _Id, pod: PodView) -> None:
        self._pods[id_] = pod
        self._by_queue.setdefault(pod.queue_uid, {})[id_] = pod

    def _forget(self, id_: _Id) -> None:
        queue_uid = self._pods.pop(id_).queue_uid
        del self._by_queue[queue_uid][id_]
        if not self._by_queue[queue_uid]:
            del self._by_queue[queue_uid]


def _version(pod: PodView) -> int:
    return _number(pod.resource_version)


def _number(version: str) -> int:
    # Kubernetes promises since 1.35 that resource versions of a resource compare as numbers, and always
    # made them so; 0 where another API server does not.
    return int(version) if version.isdigit() else 0
