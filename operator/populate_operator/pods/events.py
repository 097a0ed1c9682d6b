"""Kubernetes Events about a queue: one per queue and reason that counts, never one per pod."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from populate_operator.pods.errors import ApiError, NotFound
from populate_operator.pods.names import MANAGED_BY
from populate_operator.pods.owner import QUEUE_KIND, QueueRef
from populate_operator.pods.session import STRATEGIC_MERGE, ApiSession, JsonObject

log = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

AGGREGATED_FOR = timedelta(minutes=10)
_MAX_MESSAGE = 1024


@dataclass(slots=True)
class _Series:
    name: str
    started: datetime
    count: int


class EventRecorder:
    """Publishes events; what repeats within ten minutes updates the count and message of the first."""

    def __init__(self, session: ApiSession) -> None:
        self._session = session
        self._series: dict[tuple[str, str], _Series] = {}

    async def publish(
        self, queue: QueueRef, kind: EventType, reason: str, message: str, *, times: int = 1
    ) -> None:
        """Say that `reason` happened `times` times. Never raises ApiError: events are a courtesy."""
        now = datetime.now(UTC)
        self._forget_old(now)
        try:
            await self._publish(queue, kind, reason, message[:_MAX_MESSAGE], times, now)
        except ApiError as error:
            log.warning(
                "event not published", extra={"event": reason, "queue": queue.name, "error": str(error)}
            )

    async def _publish(
        self, queue: QueueRef, kind: EventType, reason: str, message: str, times: int, now: datetime
    ) -> None:
        path = f"/api/v1/namespaces/{queue.namespace}/events"
        series = self._series.get((queue.uid, reason))
        if series:
            series.count += times
            change = {"count": series.count, "lastTimestamp": _stamp(now), "message": message}
            try:
                await self._session.request(
                    "PATCH", f"{path}/{series.name}", body=change, content_type=STRATEGIC_MERGE
                )
                return
            except NotFound:  # the API server forgets events after an hour
                pass
        series = _Series(f"{queue.name}.{secrets.token_hex(8)}", now, times)
        self._series[(queue.uid, reason)] = series
        await self._session.request("POST", path, body=_event(queue, kind, reason, message, series))

    def _forget_old(self, now: datetime) -> None:
        self._series = {
            key: series for key, series in self._series.items() if now - series.started < AGGREGATED_FOR
        }


def _event(queue: QueueRef, kind: EventType, reason: str, message: str, series: _Series) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": series.name, "namespace": queue.namespace},
        "involvedObject": {
            "apiVersion": queue.api_version,
            "kind": QUEUE_KIND,
            "namespace": queue.namespace,
            "name": queue.name,
            "uid": queue.uid,
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "count": series.count,
        "firstTimestamp": _stamp(series.started),
        "lastTimestamp": _stamp(series.started),
        "source": {"component": MANAGED_BY},
    }


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
