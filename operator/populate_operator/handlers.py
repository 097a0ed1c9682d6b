"""Kopf wiring: it watches PopulateQueues and hands what it sees to the fleet. It never watches pods.

Only low-level events are used: the fleet keeps its own finalizer and status, so Kopf writes nothing to the
objects, neither progress nor last-handled annotations.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from populate_operator.queue.fleet import Fleet
from populate_operator.queue.resource import GROUP, PLURAL, VERSION


def build_registry(fleet: Fleet) -> kopf.OperatorRegistry:
    """The handlers of this operator."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(kopf.login_via_client)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        fleet.observe(event["type"], event["object"])

    return registry


def build_settings() -> kopf.OperatorSettings:
    """Kopf's settings: no peering, no scanning for CRDs, no events of its own, and no deaf watches."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.server_timeout = 40
    settings.watching.client_timeout = 50
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 55
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    return settings


async def watch_queues(
    fleet: Fleet, namespaces: tuple[str, ...], identity: str, started: asyncio.Event
) -> None:
    """Follow the PopulateQueues until cancelled. `started` is set once Kopf has the signal handlers."""
    await kopf.operator(
        registry=build_registry(fleet),
        settings=build_settings(),
        standalone=True,
        # Unused without peering; without it Kopf looks for the user's name, and uid 65532 has none.
        identity=identity,  # type: ignore[arg-type]
        clusterwide=not namespaces,
        namespaces=namespaces,
        ready_flag=started,
    )
