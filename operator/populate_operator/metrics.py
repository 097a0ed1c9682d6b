"""Prometheus metrics of the operator. Labels stay few: a queue's namespace and name, never a job's key."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_QUEUE = ("namespace", "queue")

JOBS = Gauge("populate_queue_jobs", "Jobs of the queue by status.", (*_QUEUE, "status"))
CONDITIONS = Gauge(
    "populate_queue_condition",
    "Conditions of the queue: 1 while True, 0 while False, -1 while Unknown.",
    (*_QUEUE, "type"),
)
SETTLED = Counter(
    "populate_queue_settled_total", "Pods whose outcome was written back.", (*_QUEUE, "outcome")
)
CREATED = Counter("populate_queue_pods_created_total", "Pods created.", _QUEUE)
REFRESH_SECONDS = Histogram(
    "populate_queue_refresh_seconds",
    "Time of one refresh of the job queue.",
    _QUEUE,
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
PASS_SECONDS = Histogram(
    "populate_queue_pass_seconds",
    "Time of one reconcile pass.",
    _QUEUE,
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
FAILED_PASSES = Counter(
    "populate_queue_failed_passes_total", "Reconcile passes that ended in an error.", (*_QUEUE, "reason")
)
LEADER = Gauge("populate_operator_leader", "1 while this replica leads.")


def forget_queue(namespace: str, name: str) -> None:
    """Drop the series of a queue that is gone, so that dashboards do not show it for ever."""
    for metric in (JOBS, CONDITIONS, SETTLED, CREATED, REFRESH_SECONDS, PASS_SECONDS, FAILED_PASSES):
        metric.remove_by_labels({"namespace": namespace, "queue": name})
